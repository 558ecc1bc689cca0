"""Base class of the distillers, and the module that holds them."""
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..arguments import check_has_type, check_number, naming
from ..checkpoints.auxiliary import Auxiliary
from ..errors import ConfigTypeError, ConfigValueError
from ..numerics.randomness import untouched_randomness
from ..pairs import DensePair, Pair, PairedPass
from ..registry import DISTILLERS
from ..taps import Needs
from .progress import name_of_run
from .schedules import Schedule, Schedules

Losses = dict[str, Tensor | list[Tensor]]

#: values of ``prediction``: whose predictions can imitate the teacher's
PREDICTIONS = ('cross_head', 'student')


class Distiller(BaseModule):
    """Base class: distils one thing from a teacher to a student.

    Register a subclass and name it in a config::

        @DISTILLERS.register_module()
        class MyDistiller(Distiller):

            def forward(self, paired):
                ...

        kd_cfg=dict(..., distillers=[dict(type='MyDistiller')])

    Its parameters, if it has any, train with the student and are saved beside
    the student's, see :class:`~crosskd.checkpoints.auxiliary.Auxiliary`.

    Attributes:
        in_run: the schedules of the detector's losses, in its run.
    """

    in_run = Schedules({}, '')

    @property
    def needs(self) -> Needs | Collection[str]:
        """Everything it may need from the two passes during the run.

        A :class:`~crosskd.taps.Needs`, or names for short: outputs that the
        teacher's head must have (``'cls'``, ``'reg'``, ``'quality'``, …),
        ``'cross_head'`` for cross-head predictions, ``'features'`` for FPN
        features with equal channels.  When training begins, classes are
        matched and channel adapters are built from it, once.  So it must not
        depend on loss weights, which hooks may change.
        """
        return {'cls'}

    @property
    def needs_now(self) -> Needs | Collection[str]:
        """The part of ``needs`` that the next step uses.

        It is smaller while a loss does not count, see :meth:`counts`.  The
        teacher's head does not run if no distiller needs more than features,
        and the teacher does not run at all if none needs anything.
        """
        return self.needs

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """By the name of a loss, a schedule that multiplies its weight."""
        return {}

    def counts(self, name: str, loss: nn.Module, key: str = '') -> bool:
        """Whether a loss counts now.  If not, it need not be computed.

        It does not count while its weight or the factor of its schedules is
        0.  A hook may have changed the weight.  A weight that is a tensor
        counts as above 0: reading its value would make the host wait for the
        device.

        Args:
            name: of the loss, in the log.
            loss: its module.
            key: of the loss in ``kd_cfg``, for messages; by default its name.

        Raises:
            TypeError, ValueError: the weight is not a number, or is below 0.
        """
        weight = getattr(loss, 'loss_weight', 1.0)
        if not isinstance(weight, Tensor) and check_number(
                f'kd_cfg.{key or name}: {type(loss).__name__}', 'loss_weight',
                weight, 0) == 0:
            return False
        return self.in_run.factor(name) != 0

    def nothing(self, loss: nn.Module, paired: PairedPass,
                features: str | None = None) -> list[Tensor]:
        """0 for each level, in place of a loss that does not count.

        The parameters of the loss, and channel adapters that are idle, get a
        gradient of 0, because DDP needs a gradient for every parameter that
        trains.

        Args:
            loss: its module.
            paired: the outputs of both detectors for the batch.
            features: name of the features whose levels count; None for
                predictions.
        """
        zeros = (paired.nothing() if features is None
                 else paired.nothing(features))
        for parameter in loss.parameters():
            if parameter.requires_grad:
                zeros[0] = zeros[0] + (0 * parameter).sum()
        return zeros

    @property
    def method(self) -> str:
        """What the log calls it."""
        return type(self).__name__

    @property
    def weights(self) -> Mapping[str, float]:
        """By the name of a loss, its weight, for the log."""
        return {name: float(loss.loss_weight)
                for name, loss in self.named_children()
                if hasattr(loss, 'loss_weight')}

    def join(self, pair: Pair) -> None:
        """Build, when training begins, what depends on the pair.

        Layers that are built here train with the student.

        Args:
            pair: the joined pair, which :meth:`check` accepted.
        """

    def check(self, pair: Pair) -> None:
        """Check, when training begins, that it can work on this pair.

        Args:
            pair: the joined pair.  If predictions are needed it is a
                :class:`~crosskd.pairs.DensePair`, with the heads as
                ``pair.student`` and ``pair.teacher``.

        Raises:
            ValueError: it cannot; the message names the config key.
        """

    def forward(self, paired: Any) -> Losses:
        """The losses of a batch.

        Args:
            paired: the outputs of both detectors for the batch: a
                :class:`~crosskd.pairs.PairedPass`, or its subclass
                :class:`~crosskd.pairs.DensePass` if predictions are needed.

        Returns:
            dict: losses by names that begin with ``loss_``; each is a scalar,
            or a list of one scalar per level.
        """
        raise NotImplementedError(type(self).__name__)


class Distillers(Auxiliary):
    """The distillers of a detector, and the schedules of their losses.

    Each loss has a ``loss_weight``.  Its schedules multiply that weight during
    the run; only this class applies them.

    Args:
        distillers: by the name that their parameters are saved under.
        schedules: by the name of a loss (``'loss_cls_kd'``), its schedules, in
            addition to those of the distillers.

    Attributes:
        loss_names: names of the losses of the last batch.
    """

    def __init__(self, distillers: Mapping[str, Distiller],
                 schedules: Mapping[str, Sequence[Schedule]] | None = None
                 ) -> None:
        super().__init__()
        self.loss_names: frozenset[str] = frozenset()
        self.schedules = Schedules(schedules or {}, name_of_run())
        for name, distiller in distillers.items():
            self.add_module(name, distiller)
            distiller.in_run = self.schedules
            for loss, schedule in distiller.schedules.items():
                self.schedules.add(loss, schedule)

    @property
    def needs(self) -> Needs:
        """Everything that the distillers may need during the run."""
        return _all(d.needs for d in self.children())

    @property
    def needs_now(self) -> Needs:
        """Everything that the distillers need in the next step."""
        return _all(d.needs_now for d in self.children())

    @property
    def methods(self) -> list[str]:
        """What the log calls them, each once."""
        return list(dict.fromkeys(d.method for d in self.children()))

    @property
    def weights(self) -> dict[str, float]:
        """By the name of a loss, its weight, for the log."""
        return {name: weight for d in self.children()
                for name, weight in d.weights.items()}

    def join(self, pair: Pair, like: Tensor) -> None:
        """Check that all of them can work on a pair, and join it.

        Args:
            pair: the joined pair.
            like: a parameter of the student, for device and data type.

        Raises:
            ValueError: one cannot; the message names the config key.
        """
        for distiller in self.children():
            distiller.check(pair)
            for name in sorted(Needs.of(distiller.needs).outputs):
                teacher = dense(pair).teacher
                if name not in teacher.outputs:
                    raise ConfigValueError(
                        f'kd_cfg: {type(distiller).__name__} needs the output '
                        f'{name!r}, but the {teacher.name} head of the '
                        f'teacher has only {", ".join(teacher.outputs)}')
            # the same seed gives the same student, whatever is distilled
            with untouched_randomness(), torch.device('cpu'):
                distiller.join(pair)
        self.to(like.device, like.dtype)

    def forward(self, paired: PairedPass) -> Losses:
        """The losses of all distillers, multiplied by their schedules.

        Raises:
            ValueError: two distillers return a loss of the same name, or a
                schedule names no loss.
        """
        losses: Losses = {}
        for distiller in self.children():
            for name, loss in distiller(paired).items():
                if name in losses:
                    raise ConfigValueError(
                        f'kd_cfg: two distillers return a loss {name!r}; '
                        'expected different names')
                losses[name] = loss
        self.loss_names = frozenset(losses)
        self.schedules.check_names(losses)
        return {name: _times(self.schedules.factor(name), loss)
                for name, loss in losses.items()}


def _all(needs: Iterable[Needs | Collection[str]]) -> Needs:
    return reduce(or_, map(Needs.of, needs), Needs())


def _times(factor: float,
           loss: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    if factor == 1.0:
        return loss
    return ([factor * x for x in loss] if isinstance(loss, list)
            else factor * loss)


def dense(pair: Pair) -> DensePair:
    """The pair, for a distiller that needs predictions.

    Raises:
        TypeError: it is not a pair of dense heads.
    """
    if not isinstance(pair, DensePair):
        raise ConfigTypeError(
            'kd_cfg: predictions are only distilled between dense heads that '
            f'have adapters, found a {type(pair).__name__}')
    return pair


def build_distiller(key: str, cfg: dict) -> Distiller:
    """Build a distiller from its config.

    Args:
        key: of the config, for messages.
        cfg: with the ``type`` of a distiller, and its arguments.

    Raises:
        TypeError, ValueError: it cannot be built.
    """
    check_has_type(key, cfg)
    arguments = dict(cfg)
    kind = arguments.pop('type')
    # the registry's build would change the default scope for the losses that
    # are built inside
    found = DISTILLERS.module_dict.get(kind) if isinstance(kind, str) else kind
    if found is None:
        raise ConfigValueError(f'{key}: no distiller {kind!r} is registered; '
                               f'expected {", ".join(DISTILLERS.module_dict)}')
    with naming(f'{key}.'):
        distiller = found(**arguments)
    if not isinstance(distiller, Distiller):
        raise ConfigTypeError(f'{key}: expected a Distiller, found '
                              f'{type(distiller).__name__}')
    return distiller
