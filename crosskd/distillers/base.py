"""Base class of the distillers, and the module that holds them."""
from collections.abc import Mapping

from mmengine.model import BaseModule
from torch import Tensor, nn

from ..arguments import check_has_type, check_number, naming
from ..checkpoints.auxiliary import Auxiliary
from ..errors import ConfigTypeError, ConfigValueError
from ..heads import HeadAdapter
from ..pairs import Pair, PairedPass
from ..registry import DISTILLERS

Losses = dict[str, Tensor | list[Tensor]]

#: whose predictions can imitate the teacher's
PREDICTIONS = ('cross_head', 'student')
#: needs that are no outputs of the teacher's head
NO_OUTPUTS = {'cross_head', 'features'}


class Distiller(BaseModule):
    """One thing that is distilled from a teacher to a student.

    A subclass is registered, and named in a config::

        @DISTILLERS.register_module()
        class MyDistiller(Distiller):

            def forward(self, paired):
                ...

        kd_cfg=dict(..., distillers=[dict(type='MyDistiller')])

    Parameters that it has train with the student and are saved beside the
    student's, see :class:`~crosskd.checkpoints.auxiliary.Auxiliary`.
    """

    @property
    def needs(self) -> set[str]:
        """What it may ever need of the two passes.

        Names of outputs that the teacher's head must have (``'cls'``,
        ``'reg'``, ``'quality'``, …), ``'cross_head'`` for cross-head
        predictions, ``'features'`` for FPN features of one width.  Classes
        are matched and channel adapters built for it, once, when training
        begins: it must not depend on weights, which hooks may change.
        """
        return {'cls'}

    @property
    def needs_now(self) -> set[str]:
        """What of its ``needs`` the next step is about.

        Less than all of them while a loss has a weight of 0.  A teacher of
        which nobody needs more than features does not run its head.
        """
        return self.needs

    def check(self, pair: Pair, student: HeadAdapter,
              teacher: HeadAdapter) -> None:
        """Check, when training begins, that it can work on this pair.

        Raises:
            ValueError: it cannot; the message names the config key.
        """

    def forward(self, paired: PairedPass) -> Losses:
        """The losses of a batch.

        Args:
            paired: what both detectors made of it.

        Returns:
            dict: names that begin with ``loss_``; a scalar each, or a list of
            one scalar a level.
        """
        raise NotImplementedError(type(self).__name__)


class Distillers(Auxiliary):
    """The distillers of a detector, by name.

    Args:
        distillers: by a name that their parameters are saved under.

    Attributes:
        loss_names: names of the losses of the last batch.
    """

    def __init__(self, distillers: Mapping[str, Distiller]) -> None:
        super().__init__()
        self.loss_names: frozenset[str] = frozenset()
        for name, distiller in distillers.items():
            self.add_module(name, distiller)

    @property
    def needs(self) -> set[str]:
        """What all of them may ever need together."""
        return set().union(*(d.needs for d in self.children()))

    @property
    def needs_now(self) -> set[str]:
        """What all of them need together in the next step."""
        return set().union(*(d.needs_now for d in self.children()))

    def check(self, pair: Pair, student: HeadAdapter,
              teacher: HeadAdapter) -> None:
        """Check that all of them can work on this pair.

        Raises:
            ValueError: one cannot; the message names the config key.
        """
        for distiller in self.children():
            distiller.check(pair, student, teacher)
            for name in sorted(distiller.needs - NO_OUTPUTS):
                if name not in teacher.outputs:
                    raise ConfigValueError(
                        f'kd_cfg: {type(distiller).__name__} needs the output '
                        f'{name!r}, and {teacher.name} heads of teachers have '
                        f'{", ".join(teacher.outputs)} alone')

    def forward(self, paired: PairedPass) -> Losses:
        """The losses of all of them.

        Raises:
            ValueError: two of them have a loss of one name.
        """
        losses: Losses = {}
        for distiller in self.children():
            for name, loss in distiller(paired).items():
                if name in losses:
                    raise ConfigValueError(
                        f'kd_cfg: two distillers have a loss {name!r}')
                losses[name] = loss
        self.loss_names = frozenset(losses)
        return losses


def counts(key: str, loss: nn.Module) -> bool:
    """Whether a loss has a weight above 0 now.  If not, it is not computed.

    A hook may have set it since it was built.  A tensor counts, whatever its
    value: to look at it would make the host wait for the device.

    Args:
        key: of the loss in ``kd_cfg``, for messages.
        loss: its module.

    Raises:
        TypeError, ValueError: the weight is no number, or below 0.
    """
    weight = getattr(loss, 'loss_weight', 1.0)
    return isinstance(weight, Tensor) or check_number(
        f'kd_cfg.{key}: {type(loss).__name__}', 'loss_weight', weight, 0) != 0


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
    # not by the registry's build, which would change the default scope for
    # the losses that are built inside
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


def check_priors_per_location(student: HeadAdapter,
                              teacher: HeadAdapter) -> None:
    """Check that a student's own predictions lie beside the teacher's.

    Raises:
        ValueError: the heads have different numbers of priors a location.
    """
    if student.num_priors != teacher.num_priors:
        raise ConfigValueError(
            'teacher_config does not fit the student: priors per location '
            f'must be equal, found {student.num_priors} (student) and '
            f"{teacher.num_priors} (teacher); with kd_cfg.prediction="
            "'cross_head' they may differ")
