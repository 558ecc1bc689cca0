"""Timing the parts of a step from outside, without changing their code."""
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from mmdet.models.detectors import BaseDetector
from mmengine.model import BaseModule
from mmengine.optim import OptimWrapper
from torch import nn

from ...detectors import DistillationMixin
from ...distillers import Distiller
from ...pairs import DensePass
from .timeline import Timeline

STUDENT, TEACHER, CROSS_HEAD = 'student', 'teacher', 'cross_head'
BACKWARD, OPTIMIZER = 'backward', 'optimizer'
OPEN = 'distillation losses'  # until the loss is known
Make = Callable[[Callable], Callable]


@contextmanager
def watch_optimizer(timeline: Timeline, optim: OptimWrapper) -> Iterator[None]:
    """Time the backward pass and the optimizer's step."""
    with ExitStack() as stack:
        for name, part in (('backward', BACKWARD), ('step', OPTIMIZER),
                           ('zero_grad', OPTIMIZER)):
            stack.enter_context(_replaced(optim, name, _timed(timeline, part)))
        yield


@contextmanager
def watch_plain(timeline: Timeline,
                model: BaseDetector) -> Iterator[None]:
    """Time the student's own losses."""
    with _replaced(model, 'loss', _timed(timeline, STUDENT)):
        yield


@contextmanager
def watch_teacher(timeline: Timeline,
                  model: BaseDetector) -> Iterator[None]:
    """Time the parts of a detector's forward."""
    with ExitStack() as stack:
        for name, part in (('backbone', 'backbone'), ('neck', 'neck'),
                           ('bbox_head', 'head')):
            module = getattr(model, name, None)
            if module is not None:
                stack.enter_context(
                    _replaced(module, 'forward', _timed(timeline, part)))
        yield


@contextmanager
def watch_distilled(timeline: Timeline,
                    model: DistillationMixin) -> Iterator[None]:
    """Time teacher, student, cross-head predictions and distillers."""
    order = type(model).__mro__
    plain = next(kind for kind in order[order.index(DistillationMixin) + 1:]
                 if 'loss' in vars(kind))
    with ExitStack() as stack:
        for owner, name, part in (
                (type(model.teacher), '__call__', TEACHER),
                (plain, 'loss', STUDENT),
                (DensePass, 'make_cross_head', CROSS_HEAD)):
            stack.enter_context(_replaced(owner, name, _timed(timeline, part)))
        for distiller in model.distillers.children():
            stack.enter_context(_watch_losses(timeline, distiller))
        yield


@contextmanager
def _watch_losses(timeline: Timeline, distiller: Distiller) -> Iterator[None]:
    """Time each loss of a distiller.

    A loss begins where the one before it ended, so shared work is counted with
    the first loss that needs it.
    """
    ends: list[tuple[int, str]] = []

    def ending(name: str) -> Make:
        def make(function: Callable) -> Callable:
            @functools.wraps(function)
            def run(*args: Any, **kwargs: Any) -> Any:
                result = function(*args, **kwargs)
                timeline.mark()
                ends.append((len(timeline.labels) - 1, name))
                return result
            return run
        return make

    def named(forward: Callable) -> Callable:
        @functools.wraps(forward)
        def run(*args: Any, **kwargs: Any) -> Any:
            ends.clear()
            first = len(timeline.labels)
            with timeline.part(OPEN):
                losses = forward(*args, **kwargs)
            _name(timeline.labels, first, ends, list(losses))
            return losses
        return run

    with ExitStack() as stack:
        stack.enter_context(_replaced(distiller, 'forward', named))
        for name, loss in _losses(distiller):
            for method in _methods(loss):
                stack.enter_context(_replaced(loss, method, ending(name)))
        yield


def _name(labels: list[str], first: int, ends: list[tuple[int, str]],
          losses: list[str]) -> None:
    """Name the open pieces of time after the loss that ends them."""
    names = {
        module: next((loss for loss in losses if loss == module
                      or loss.endswith(f'_{module}')), ' + '.join(losses))
        for _, module in ends
    }
    left = list(ends)
    for index in range(first, len(labels)):
        while len(left) > 1 and left[0][0] <= index:
            left.pop(0)
        if labels[index] == OPEN:
            labels[index] = (names[left[0][1]] if left
                             else ' + '.join(losses))


def _losses(distiller: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in distiller.named_children():
        if isinstance(module, (nn.ModuleDict, nn.ModuleList)):
            yield from module.named_children()
        else:
            yield name, module


def _methods(loss: nn.Module) -> list[str]:
    """Names of the methods that may compute a loss."""
    return ['forward'] + [
        name for name in dir(type(loss))
        if not name.startswith('_') and not hasattr(BaseModule, name)
        and callable(getattr(type(loss), name))
    ]


def _timed(timeline: Timeline, part: str) -> Make:
    def make(function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with timeline.part(part):
                return function(*args, **kwargs)
        return run
    return make


@contextmanager
def _replaced(owner: Any, name: str, make: Make) -> Iterator[None]:
    """Replace a method of an object or class while the block runs."""
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, make(before))
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
