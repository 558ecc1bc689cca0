"""Checking that the student gets gradients from what was recorded of it."""
from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from ..heads import HeadFamily, HeadTrace

CAUSE = ('something runs it without its gradients or its hooks, such as '
         "activation_checkpointing in mmengine's own train tool (crosskd's "
         'Runner keeps gradients), or a compiler')


def check_graph(detector: nn.Module, features: Sequence[Tensor],
                family: HeadFamily, seen: HeadTrace,
                split: int | None) -> None:
    """Raise an error where a part of the student would get no gradient.

    Args:
        detector: the student, with ``backbone``, ``neck`` and ``bbox_head``.
        features: per level (N, C, H, W), what the head was given.
        family: the student's head.
        seen: record of the pass through the head.
        split: after how many tower layers intermediate features were
            recorded; None if they were not.

    Raises:
        RuntimeError: outputs or intermediate features are not all there, or
            features have no gradient although the layers that made them train.
    """
    levels = len(seen.outputs[0]) if seen.outputs else 0
    maps = {'bbox_head': ([x for kind in seen.outputs for x in kind],
                          levels * len(seen.outputs), [family.head])}
    if split is not None:
        for name, held, tower in zip(
                ('classification tower of bbox_head',
                 'regression tower of bbox_head'),
                (seen.held_cls, seen.held_reg), family.towers):
            maps[name] = (held, levels, list(tower[:split]))
    for name, (found, expected, _) in maps.items():
        if not expected or len(found) != expected:
            raise RuntimeError(
                f'{name}: expected {expected or "some"} feature maps in one '
                f'pass, found {len(found)}: {CAUSE}')
    if not torch.is_grad_enabled():
        return
    below = [m for name, m in detector.named_children()
             if name in ('backbone', 'neck')]
    if _trains(below) and not _has_graph(features):
        raise RuntimeError(f'backbone and neck have no gradient: {CAUSE}')
    for name, (found, _, layers) in maps.items():
        if _has_graph(features):
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
