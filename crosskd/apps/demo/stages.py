"""The demo's trainings and their logs."""
from pathlib import Path

from ..compare import logs
from ..distil.trainings import MIM, Training, train

__all__ = ['MIM', 'Run', 'ap_curve', 'history', 'train', 'training_seconds']


class Run(Training):
    """One detector of the demo.

    Args:
        name: what the demo calls it.
        config: path below ``configs/``.
        root: folder with ``data/``.
        results: folder below it for this seed's results.
        changes: ``--cfg-options`` of the training.
    """

    def __init__(self, name: str, config: str, root: Path, results: Path,
                 changes: dict[str, object]) -> None:
        super().__init__(name, MIM / 'configs' / config,
                         results / Path(config).stem, root, changes)
        self.config = config

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of the last epoch, whether it exists yet or not."""
        return self.work_dir / f'epoch_{self.epochs}.pth'

    @property
    def epochs(self) -> int:
        return self.cfg.train_cfg.max_epochs


def history(run: Run) -> list[dict]:
    """What the training logged, in order; a repeated step counts once."""
    return logs.history(run.work_dir)


def ap_curve(run: Run) -> list[tuple[int, float]]:
    """(epoch, AP) of every validation during training."""
    return logs.ap_curve(history(run))


def training_seconds(run: Run) -> float:
    """Seconds spent in training iterations, over all sessions."""
    steps = sorted((e['step'], e['time']) for e in history(run) if 'lr' in e)
    seconds, before = 0.0, 0
    for step, per_iteration in steps:
        seconds += (step - before) * per_iteration
        before = step
    return seconds
