"""Running only the needed part of a teacher's head."""
import logging
from collections.abc import Collection, Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from ..heads import HeadAdapter, HeadRecord, record
from ..numerics.randomness import untouched_randomness
from ..numerics.same_function import same_function
from .probe import exact_copy, has_hooks, pattern

SIDE = 16  # of the largest map that a head is tested with


class HeadRun:
    """Runs a head for its scores, and for the outputs that are needed.

    If all outputs are needed, the head's own forward runs.  Otherwise its
    adapter runs only the layers that lead to the needed outputs, if the head
    inherits the forward of the adapter's family and both give the same results
    for a test input.  The own forward also runs if a subclass overrides it,
    because it may do more, and if there are hooks, which must see the whole
    head.
    """

    def __init__(self) -> None:
        self._looked_at: HeadAdapter | None = None
        self._layers_tell = False

    def __call__(self, head: HeadAdapter, features: Sequence[Tensor],
                 split: int | None, needs: Collection[str]) -> HeadRecord:
        """Run a head without gradients.

        Args:
            head: the adapter of a head in eval mode.
            features: per level (N, C, H, W).
            split: record the intermediate features after this many layers;
                None to record none.
            needs: names of outputs.
        """
        outputs = {'cls', *needs} & set(head.outputs)
        if self._looked_at is not head:
            self._looked_at = head
            self._layers_tell = self._look_at(head, features, split)
        by_layers = (len(outputs) < len(head.outputs) and self._layers_tell
                     and _runs_as_its_family(head)
                     and not any(map(has_hooks, head.head.modules())))
        with record(head, split) as seen:
            if not by_layers:
                head.head(features)
                return seen
            found = _run_layers(head, features, outputs)
        seen.given, seen.outputs = features, found
        if split == 0:
            seen.intermediates = {
                branch: list(features) for branch in head.branches}
        # only branches that lead to these outputs
        seen.intermediates = {
            branch: maps for branch, maps in seen.intermediates.items()
            if maps}
        return seen

    def _look_at(self, head: HeadAdapter, features: Sequence[Tensor],
                 split: int | None) -> bool:
        """Whether its layers give what its forward returns; warn if not.

        Args:
            features: only their channels and their device are used.
        """
        same = _make_the_same(head, [x.size(1) for x in features],
                              features[0].device)
        if split is not None and same is False:
            print_log(
                f'teacher_config.model.bbox_head: {type(head).__name__} does '
                f'not fully know the head {type(head.head).__name__}: running '
                'its layers gives other outputs than its forward, so '
                'cross-head predictions will be wrong. '
                'docs/extending.md says how to add a head',
                logger='current', level=logging.WARNING)
        return bool(same)


def _runs_as_its_family(head: HeadAdapter) -> bool:
    """Whether its forward is the family's; also looks at the instance."""
    return all(
        name not in vars(head.head) and
        getattr(type(head.head), name, None) is
        getattr(head.head_type, name, None)
        for name in ('forward', 'forward_single'))


def _make_the_same(head: HeadAdapter, channels: Sequence[int],
                   device: torch.device) -> bool | None:
    """Whether layers and forward give equal results; None if unknown."""
    features = tuple(
        pattern(1, c, max(SIDE >> i, 1), max(SIDE >> i, 1), device=device)
        for i, c in enumerate(channels))
    try:
        with untouched_randomness():
            copied = type(head)(exact_copy(head.head))
            raw = copied.head(features)
            # the check of the passes reports that
            copied.check_outputs(raw, training=False)
            theirs = copied.named(raw, training=False)
            ours = _run_layers(copied, features, head.outputs)
    except Exception:  # it cannot be copied, or does not run in float64
        return None
    return all(same_function(a, b) for name in head.outputs
               for a, b in zip(theirs[name], ours[name], strict=True))


def _run_layers(head: HeadAdapter, features: Sequence[Tensor],
                outputs: Collection[str]) -> dict[str, list[Tensor]]:
    return head.forward_from(dict.fromkeys(head.branches, features), 0,
                             range(len(features)), outputs)
