"""Running of a teacher's head what is needed."""
import logging
from collections.abc import Collection, Sequence

from mmengine.logging import print_log
from torch import Tensor

from ..heads import HeadAdapter, HeadRecord, record
from ..numerics.alike import alike


class HeadRun:
    """Runs a head for its scores, and for the outputs that are needed.

    Where those are all, the head's own forward runs.  Else its adapter runs
    the layers that lead to them; whether that is what the head's own forward
    does is looked at in the first run, because a subclass may do more.
    """

    def __init__(self) -> None:
        self._looked_at: HeadAdapter | None = None
        self._layers_tell = True

    def __call__(self, head: HeadAdapter, features: Sequence[Tensor],
                 split: int | None, needs: Collection[str]) -> HeadRecord:
        """Run a head without gradients.

        Args:
            head: in eval mode, in its adapter.
            features: per level (N, C, H, W).
            split: record the intermediate features after so many layers;
                None for none.
            needs: names of outputs.
        """
        outputs = {'cls', *needs} & set(head.outputs)
        if self._looked_at is not head:
            self._looked_at = head
            return self._look_at(head, features, split)
        with record(head, split) as seen:
            if len(outputs) == len(head.outputs) or not self._layers_tell:
                head.head(features)
                return seen
            found = _run_layers(head, features, outputs)
        seen.features, seen.outputs = features, found
        if split == 0:
            seen.intermediates = {
                branch: list(features) for branch in head.branches}
        # those that lead to these outputs
        seen.intermediates = {
            branch: maps for branch, maps in seen.intermediates.items()
            if maps}
        return seen

    def _look_at(self, head: HeadAdapter, features: Sequence[Tensor],
                 split: int | None) -> HeadRecord:
        with record(head, split) as seen:
            head.head(features)
        try:
            head.check_outputs(seen.raw)
        except TypeError:  # which is said when the passes are checked
            self._layers_tell = False
            return seen
        found = _run_layers(head, features, head.outputs)
        self._layers_tell = all(
            alike(ours, theirs) for name in head.outputs
            for ours, theirs in zip(seen.outputs[name], found[name]))
        if split is not None and not self._layers_tell:
            print_log(
                f'teacher_config.model.bbox_head: {type(head.head).__name__} '
                f'does more than {type(head).__name__} knows of: what its '
                'layers make of features is not what its forward returns, so '
                'cross-head predictions are not what it would predict. '
                'docs/extending.md says how to add a head',
                logger='current', level=logging.WARNING)
        return seen


def _run_layers(head: HeadAdapter, features: Sequence[Tensor],
                outputs: Collection[str]) -> dict[str, list[Tensor]]:
    return head.forward_from(dict.fromkeys(head.branches, features), 0,
                             range(len(features)), outputs)
