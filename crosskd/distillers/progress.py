"""How far a run is, as mmengine's Runner counts it."""
from dataclasses import dataclass

from mmengine.logging import MessageHub

from ..errors import ConfigValueError


@dataclass(frozen=True)
class Progress:
    """The place of a step in its run, in mmengine's words.

    mmengine's Runner counts it, also when it resumes.  So a function of it
    alone has the same values in a resumed run.

    Attributes:
        iter, epoch: how many iterations and epochs are done.  For a loop that
            counts iterations only, the whole run is one epoch.
        max_iters, max_epochs: how many the whole run has; None if its loop
            does not say.
    """
    iter: int
    epoch: int = 0
    max_iters: int | None = None
    max_epochs: int | None = None

    @property
    def epoch_length(self) -> int:
        """How many iterations an epoch has.

        Raises:
            ValueError: the loop does not say.
        """
        return max(self.length(False) // self.length(True), 1)

    def done(self, by_epoch: bool) -> int:
        """How many epochs, or else iterations, are done."""
        return self.epoch if by_epoch else self.iter

    def length(self, by_epoch: bool) -> int:
        """How many epochs, or else iterations, the run has.

        Raises:
            ValueError: the loop does not say.
        """
        found = self.max_epochs if by_epoch else self.max_iters
        if not found:
            raise ConfigValueError(
                'kd_cfg.schedule: the train loop does not say how many '
                f'{"epochs" if by_epoch else "iterations"} the run has; '
                'expected an end for each schedule, and no each_epoch')
        return found


def name_of_run() -> str:
    """The name under which mmengine counts a run's iterations.

    A Runner makes its message hub before its model, so a model that a Runner
    builds knows this name.
    """
    return MessageHub.get_current_instance().instance_name


def progress_of(run: str) -> Progress | None:
    """How far a run is; None if no Runner counts its iterations.

    Args:
        run: as :func:`name_of_run` returned it when the model was built.
    """
    hub = MessageHub.get_current_instance()
    if MessageHub.check_instance_created(run):  # in this process
        own = MessageHub.get_instance(run)
        # else the model was built before its Runner
        hub = hub if own.get_info('iter') is None else own
    done = hub.get_info('iter')
    return None if done is None else Progress(
        done, hub.get_info('epoch', 0), hub.get_info('max_iters'),
        hub.get_info('max_epochs'))
