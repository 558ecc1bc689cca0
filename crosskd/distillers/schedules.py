"""Schedules: factors that multiply the weight of a loss during a run.

They are named after mmengine's schedulers of learning rates, and their
arguments mean the same.  Published uses::

    schedule = dict(
        # RTMDet by CWD: off for the last 20 epochs, such as 280 to 300
        loss_feat_kd=dict(type='StopWeight', begin=-20),
        # YOLOv6 (arXiv 2301.05586): cosine from 1 to 0.01 over the run
        loss_cls_kd=dict(type='CosineAnnealingWeight', end_factor=0.01),
        # DAMO-YOLO (arXiv 2211.15444): from 1 to 0.1 within each epoch
        loss_reg_kd=dict(type='CosineAnnealingWeight', end_factor=0.1,
                         each_epoch=True),
        # SDD (arXiv 2403.13512): linear warm-up; then, a list multiplies, off
        loss_sdd_map=[dict(type='LinearWarmup', iters=500),
                      dict(type='StopWeight', begin=10)])
"""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import check_number
from ..errors import ConfigTypeError, ConfigValueError
from ..names import did_you_mean
from ..registry import SCHEDULES
from .progress import Progress, progress_of


class Schedule:
    """Base class: a factor of a loss, from the progress of the run.

    Register a subclass in ``SCHEDULES`` and name it in a config::

        kd_cfg=dict(..., schedule=dict(
            loss_cls_kd=dict(type='LinearWarmup', iters=500)))
    """

    @property
    def counts_epochs(self) -> bool:
        """Whether it only has a meaning in runs that count epochs."""
        return False

    def is_always_off(self, epochs: int) -> bool:
        """Whether the factor is 0 in a whole run of so many epochs."""
        return False

    def __call__(self, progress: Progress) -> float:
        """The factor.  While it is 0, the loss is not computed.

        It must depend on nothing else, so that a resumed run has the same
        factors.

        Args:
            progress: how far the run is.
        """
        raise NotImplementedError(type(self).__name__)


@SCHEDULES.register_module()
@dataclass(frozen=True)
class LinearWarmup(Schedule):
    """Grows linearly from 0 to 1, with each iteration.

    Example config: ``schedule=dict(
    loss_cls_kd=dict(type='LinearWarmup', iters=500))``.

    Args:
        iters: how many iterations the growth takes.

    Raises:
        TypeError, ValueError: ``iters`` is not an integer, or is below 0.
    """
    iters: int

    def __post_init__(self) -> None:
        _check_count(self, 'iters', 0)

    def __call__(self, progress: Progress) -> float:
        return (min((progress.iter + 1) / self.iters, 1.0)
                if self.iters else 1.0)


@dataclass(frozen=True, kw_only=True)
class _Between(Schedule):
    """Base class of schedules that have a begin and an end."""

    begin: int = 0
    end: int | None = None
    by_epoch: bool = True

    def __post_init__(self) -> None:
        _check_count(self, 'begin', 0)
        _check_flag(self, 'by_epoch')
        if self.end is not None:
            _check_count(self, 'end', 0)
            if self.end <= self.begin:
                raise ConfigValueError(
                    f'{type(self).__name__}: end must be after begin='
                    f'{self.begin}, found {self.end}')

    @property
    def counts_epochs(self) -> bool:
        return self.by_epoch


@SCHEDULES.register_module()
@dataclass(frozen=True, kw_only=True)
class ConstantWeight(_Between):
    """A factor from ``begin`` to ``end``; before and after it is 1.

    Example config: ``schedule=dict(
    loss_cls_kd=dict(type='ConstantWeight', factor=0.5, end=2))``.

    Args:
        factor: the factor.
        begin: after how many epochs it begins.
        end: after how many epochs it ends; None for the end of the run.
        by_epoch: False to count ``begin`` and ``end`` in iterations.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """
    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(type(self).__name__, 'factor', self.factor, 0)

    def __call__(self, progress: Progress) -> float:
        done = progress.done(self.by_epoch)
        begun = done >= self.begin
        ended = self.end is not None and done >= self.end
        return self.factor if begun and not ended else 1.0


@SCHEDULES.register_module()
@dataclass(frozen=True, kw_only=True)
class StopWeight(Schedule):
    """1, and 0 from ``begin`` on: the loss is off to the end of the run.

    While all losses are off, the teacher does not run.

    Example config: ``schedule=dict(
    loss_feat_kd=dict(type='StopWeight', begin=-20))``.

    Args:
        begin: after how many epochs the loss is off; below 0, how many epochs
            before the end of the run: -20 for the last 20.
        by_epoch: False to count in iterations.

    Raises:
        TypeError: an argument cannot be used.
    """
    begin: int
    by_epoch: bool = True

    def __post_init__(self) -> None:
        _check_count(self, 'begin', -math.inf)
        _check_flag(self, 'by_epoch')

    @property
    def counts_epochs(self) -> bool:
        return self.by_epoch

    def is_always_off(self, epochs: int) -> bool:
        return self.by_epoch and (self.begin == 0 or -self.begin >= epochs)

    def __call__(self, progress: Progress) -> float:
        begin = self.begin
        if begin < 0:
            begin += progress.length(self.by_epoch)
        return float(progress.done(self.by_epoch) < begin)


@dataclass(frozen=True, kw_only=True)
class _Curve(_Between):
    """Base class of schedules that go from one factor to another."""

    start_factor: float = 1.0
    end_factor: float
    each_epoch: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ('start_factor', 'end_factor'):
            check_number(type(self).__name__, key, getattr(self, key), 0)
        _check_flag(self, 'each_epoch')
        if self.each_epoch and (self.begin or self.end is not None):
            raise ConfigValueError(
                f'{type(self).__name__}: each_epoch goes from the first to '
                'the last iteration of every epoch; expected no begin and no '
                f'end, found begin={self.begin}, end={self.end}')

    @property
    def counts_epochs(self) -> bool:
        return self.by_epoch or self.each_epoch

    def __call__(self, progress: Progress) -> float:
        if self.each_epoch:
            length = progress.epoch_length
            return self._factor(progress.iter % length, length)
        done = progress.done(self.by_epoch) - self.begin
        if done < 0:
            return 1.0
        end = (progress.length(self.by_epoch) if self.end is None
               else self.end)
        return self._factor(done, end - self.begin)

    def _factor(self, done: int, length: int) -> float:
        """The factor after so many of the steps from begin to end."""
        raise NotImplementedError


@SCHEDULES.register_module()
@dataclass(frozen=True, kw_only=True)
class LinearWeight(_Curve):
    """A line from one factor to another, as mmengine's ``LinearLR``.

    Before ``begin`` the factor is 1, after ``end`` it is ``end_factor``.

    Example config: ``schedule=dict(loss_cls_kd=dict(
    type='LinearWeight', start_factor=0.1, end_factor=1.0, end=3))``.

    Args:
        start_factor: the factor of the first epoch, by default 1.
        end_factor: the factor of the last epoch before ``end``.
        begin: after how many epochs the line begins.
        end: after how many epochs it ends; None for the end of the run.
        by_epoch: False to count in iterations, and to change the factor with
            each iteration instead of each epoch.
        each_epoch: repeat the line in every epoch, from its first iteration
            to its last one; without ``begin`` and ``end``.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def _factor(self, done: int, length: int) -> float:
        part = min(done / max(length - 1, 1), 1.0)
        return self.start_factor + part * (self.end_factor - self.start_factor)


@SCHEDULES.register_module()
@dataclass(frozen=True, kw_only=True)
class CosineAnnealingWeight(_Curve):
    """Half a cosine from one factor to another, as ``CosineAnnealingLR``.

    Before ``begin`` the factor is 1.  At ``end`` and after it, it is
    ``end_factor``.

    Example config: ``schedule=dict(loss_cls_kd=dict(
    type='CosineAnnealingWeight', end_factor=0.01))``.

    Args:
        start_factor: the factor of the first epoch, by default 1.
        end_factor: the factor at ``end``, one epoch after the last one of the
            curve.
        begin: after how many epochs the curve begins.
        end: after how many epochs it ends; None for the end of the run.
        by_epoch: False to count in iterations, and to change the factor with
            each iteration instead of each epoch.
        each_epoch: repeat the curve in every epoch, with each iteration;
            without ``begin`` and ``end``.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def _factor(self, done: int, length: int) -> float:
        part = min(done / max(length, 1), 1.0)
        # 1 at the beginning, 0 at the end
        height = (1 + math.cos(math.pi * part)) / 2
        return self.end_factor + height * (self.start_factor - self.end_factor)


class Schedules:
    """The schedules of all losses of a detector, in the run that it is in.

    Args:
        given: by the name of a loss, schedules whose factors are multiplied.
        run: its name, as :func:`~crosskd.distillers.progress.name_of_run`
            returned it.

    Attributes:
        by_loss: these schedules.
        scale: a factor of all losses, besides their schedules; hooks may
            change it.
    """

    def __init__(self, given: Mapping[str, Sequence[Schedule]],
                 run: str) -> None:
        self.by_loss = {name: tuple(each) for name, each in given.items()}
        self.scale = 1.0
        self._run = run

    def add(self, name: str, schedule: Schedule) -> None:
        """Multiply the factor of a loss by one more schedule."""
        self.by_loss[name] = (*self.by_loss.get(name, ()), schedule)

    def pause(self) -> None:
        """Make all factors 1."""
        self.by_loss = dict.fromkeys(self.by_loss, ())

    def factor(self, name: str) -> float:
        """The factor of a loss now; its schedules need a Runner that counts.

        Args:
            name: of the loss, in the log.
        """
        schedules = self.by_loss.get(name)
        progress = progress_of(self._run) if schedules else None
        if not schedules or progress is None:
            return self.scale
        return self.scale * math.prod(
            schedule(progress) for schedule in schedules)

    def check_names(self, losses: Mapping[str, Any]) -> None:
        """Check that there is a loss for each schedule.

        Args:
            losses: by name, the losses of a batch.

        Raises:
            ValueError: there is none.
        """
        for name in self.by_loss:
            if name not in losses:
                raise ConfigValueError(
                    f'kd_cfg.schedule.{name}: there is no loss {name!r}; '
                    f'expected one of {", ".join(losses)}'
                    f'{did_you_mean(name, losses)}')


def _check_count(owner: Schedule, key: str, low: float) -> None:
    name, value = type(owner).__name__, getattr(owner, key)
    if not isinstance(value, int):
        raise ConfigTypeError(
            f'{name}: {key} must be an integer, found {value!r}')
    check_number(name, key, value, low)


def _check_flag(owner: Schedule, key: str) -> None:
    value = getattr(owner, key)
    if not isinstance(value, bool):
        raise ConfigTypeError(f'{type(owner).__name__}: {key} must be True or '
                              f'False, found {value!r}')
