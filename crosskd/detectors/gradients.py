"""Checking that gradients reach the student from its recorded features."""
from collections.abc import Iterable
from itertools import chain

from torch import Tensor, nn

from ..heads import HeadRecord
from ..taps import Plan, Record
from ..taps.running import BODY, check_ran
from ..taps.tapping import module_of

CAUSE = ('something runs it without gradients or hooks, such as a compiler, '
         "or activation_checkpointing in mmengine's own train tool (crosskd's "
         'Runner keeps the gradients)')


def check_gradients(detector: nn.Module, plan: Plan, seen: Record) -> None:
    """Raise an error if a part of the student would get no gradient.

    Args:
        detector: the student.
        plan: its taps.
        seen: record of its pass.

    Raises:
        RuntimeError: features, outputs or intermediate features are missing,
            or have no gradient although the layers before them train.
    """
    body = [getattr(detector, name) for name in BODY
            if getattr(detector, name, None) is not None]
    for name, maps in seen.features.items():
        tap = plan.student[name]
        check_ran(tap, list(maps))
        before = body if tap.io == 'input' else [module_of(detector, tap)]
        if _trains(before) and not _has_graph(maps):
            raise RuntimeError(f'the {tap} has no gradient: {CAUSE}')
    if isinstance(seen, HeadRecord):
        _check_head(body, seen)


def _check_head(body: list[nn.Module], seen: HeadRecord) -> None:
    adapter = seen.adapter
    # as returned: the pass may not need what a family makes of them
    outputs = [list(kind) for _, kind in zip(
        adapter.forward_outputs(seen.training), seen.raw or ())]
    levels = len(seen.sizes) if outputs else 0
    maps = {'bbox_head': ([x for kind in outputs for x in kind],
                          levels * len(outputs), [adapter.head])}
    for branch, found in seen.intermediates.items():
        maps[f'{branch} branch of bbox_head'] = (
            found, levels, [m for level in range(levels) for m in
                            adapter.layers(branch, level)[:seen.split]])
    for name, (found, expected, _) in maps.items():
        if not expected or len(found) != expected:
            raise RuntimeError(
                f'{name}: expected {expected or "some"} feature maps in one '
                f'pass, found {len(found)}: {CAUSE}')
    features_train = _has_graph(seen.given)
    if _trains(body) and not features_train:
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
