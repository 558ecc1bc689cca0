"""Schedules: factors that multiply the weight of a loss during a run."""
from dataclasses import dataclass

from mmengine.logging import MessageHub

from ..arguments import check_number
from ..errors import ConfigTypeError
from ..registry import SCHEDULES


class Schedule:
    """Base class: a factor of a loss, from the iterations done so far.

    Register a subclass in ``SCHEDULES`` and name it in a config::

        kd_cfg=dict(..., schedule=dict(
            loss_cls_kd=dict(type='LinearWarmup', iters=500)))
    """

    def __call__(self, done: int) -> float:
        """The factor.

        Args:
            done: how many iterations of the run are done; mmengine's Runner
                counts them, also when it resumes.
        """
        raise NotImplementedError(type(self).__name__)


@SCHEDULES.register_module()
@dataclass(frozen=True)
class LinearWarmup(Schedule):
    """Grows linearly from 0 to 1.

    Example config: ``schedule=dict(
    loss_cls_kd=dict(type='LinearWarmup', iters=500))``.

    Args:
        iters: how many iterations the growth takes.

    Raises:
        TypeError, ValueError: ``iters`` is not an integer, or is below 0.
    """
    iters: int

    def __post_init__(self) -> None:
        if not isinstance(self.iters, int):
            raise ConfigTypeError(f'LinearWarmup: iters must be an integer, '
                                  f'found {self.iters!r}')
        check_number('LinearWarmup', 'iters', self.iters, 0)

    def __call__(self, done: int) -> float:
        return min((done + 1) / self.iters, 1.0) if self.iters else 1.0


def name_of_run() -> str:
    """The name under which mmengine counts a run's iterations.

    A Runner makes its message hub before its model, so a model that a Runner
    builds knows this name.
    """
    return MessageHub.get_current_instance().instance_name


def iterations_done(run: str) -> int | None:
    """How many iterations are done; None if no Runner counts them.

    Args:
        run: as :func:`name_of_run` returned it when the model was built.
    """
    done = None
    if MessageHub.check_instance_created(run):  # in this process
        done = MessageHub.get_instance(run).get_info('iter')
    if done is None:  # built before its Runner
        done = MessageHub.get_current_instance().get_info('iter')
    return done
