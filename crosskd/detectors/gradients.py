"""Checking that the student gets gradients from what was recorded of it."""
from collections.abc import Iterable
from itertools import chain

from torch import Tensor, nn

from ..heads import HeadAdapter, HeadRecord

CAUSE = ('something runs it without its gradients or its hooks, such as '
         "activation_checkpointing in mmengine's own train tool (crosskd's "
         'Runner keeps gradients), or a compiler')


def check_gradients(detector: nn.Module, adapter: HeadAdapter,
                    seen: HeadRecord, split: int | None) -> None:
    """Raise an error where a part of the student would get no gradient.

    Args:
        detector: the student, with ``backbone``, ``neck`` and ``bbox_head``.
        adapter: the student's head.
        seen: record of the pass through the head.
        split: after how many layers intermediate features were recorded; None
            if they were not.

    Raises:
        RuntimeError: outputs or intermediate features are not all there, or
            features have no gradient although the layers that made them train.
    """
    # as returned: what a family makes of them, a pass may not need
    outputs = [list(kind) for _, kind in zip(
        adapter.forward_outputs(seen.training), seen.raw or ())]
    levels = len(seen.sizes) if outputs else 0
    maps = {'bbox_head': ([x for kind in outputs for x in kind],
                          levels * len(outputs), [adapter.head])}
    if split is not None:
        for branch, found in seen.intermediates.items():
            maps[f'{branch} branch of bbox_head'] = (
                found, levels, [m for level in range(levels) for m in
                                adapter.layers(branch, level)[:split]])
    for name, (found, expected, _) in maps.items():
        if not expected or len(found) != expected:
            raise RuntimeError(
                f'{name}: expected {expected or "some"} feature maps in one '
                f'pass, found {len(found)}: {CAUSE}')
    below = [m for name, m in detector.named_children()
             if name in ('backbone', 'neck')]
    features_train = _has_graph(seen.features)
    if _trains(below) and not features_train:
        raise RuntimeError(f'backbone and neck have no gradient: {CAUSE}')
    for name, (found, _, layers) in maps.items():
        if features_train:
            whole = all(x.requires_grad for x in found)
        else:  # from frozen layers; a branch may be frozen, too
            whole = _has_graph(found) or not _trains(layers)
        if not whole:
            raise RuntimeError(f'{name} has no gradient: {CAUSE}')


def _has_graph(maps: Iterable[Tensor]) -> bool:
    return any(x.requires_grad for x in maps)


def _trains(modules: Iterable[nn.Module]) -> bool:
    return any(p.requires_grad
               for p in chain.from_iterable(m.parameters() for m in modules))
