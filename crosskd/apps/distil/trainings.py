"""Trainings in subprocesses; a stopped training continues.

Every training is one call of ``tools/train.py`` or ``tools/dist_train.sh``,
as a user would type it.  Files alone show what is done: a training is finished
if its last checkpoint has all epochs or iterations.
"""
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

import crosskd

from ...checkpoints.loading import CheckpointError, load_from_allow_list
from ...checkpoints.noted import noted_checkpoint
from .lock import Taken, locked
from .processes import Job, TrainingError, run

MIM = Path(crosskd.__file__).parent / '.mim'
CHECK = f'{__package__}.checking'


@dataclass
class Training:
    """One training of a detector.

    Attributes:
        name: its name in messages.
        config_file: path of its config.
        work_dir: folder for its logs and checkpoints.
        root: working directory of the training.
        changes: its ``--cfg-options``.
    """
    name: str
    config_file: Path
    work_dir: Path
    root: Path = field(default_factory=Path.cwd)
    changes: dict[str, object] = field(default_factory=dict)

    @property
    def cfg(self) -> Config:
        """The config as the tools see it."""
        cfg = Config.fromfile(self.config_file)
        cfg.merge_from_dict(self.changes)
        return cfg

    @property
    def options(self) -> list[str]:
        """The changes as arguments of a tool."""
        pairs = [f'{k}={v}' for k, v in self.changes.items()]
        return ['--cfg-options', *pairs] if pairs else []

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint that mmengine has noted, if it exists."""
        noted = noted_checkpoint(self.work_dir)
        if noted is None:
            return None
        # by its name first: the folder may have been moved since
        places = self.work_dir / noted.name, self.root / noted
        return next((file for file in places if file.is_file()), None)

    @property
    def is_finished(self) -> bool:
        """Whether the last checkpoint has all epochs or iterations."""
        file = self.last_checkpoint
        if file is None:
            return False
        try:
            meta = load_from_allow_list(
                str(file), map_location='cpu').get('meta') or {}
        except CheckpointError:
            return False  # the training itself warns, and takes an older one
        loop = self.cfg.get('train_cfg') or {}
        return any(loop.get(limit) is not None
                   and meta.get(done, -1) >= loop[limit]
                   for limit, done in (('max_epochs', 'epoch'),
                                       ('max_iters', 'iter')))


def train(trainings: Sequence[Training], threads: int | None = None,
          gpus: int = 1) -> None:
    """Train detectors in parallel; finished ones are skipped.

    Args:
        trainings: the trainings.
        threads: CPU threads of each; by default, torch decides.
        gpus: the GPUs of each; ``dist_train.sh`` uses more than one.

    Raises:
        TrainingError: a training failed, or another process is training into
            the same folder.
    """
    left = []
    for training in trainings:
        if training.is_finished:
            print(f'[{training.name}] is already trained', flush=True)
            continue
        left.append(training)
        latest = training.last_checkpoint
        if latest is not None:
            print(f'[{training.name}] continues from {latest}', flush=True)
    with ExitStack() as locks:
        run([Job(training.name, _command(training, gpus), training.root,
                 locks.enter_context(_alone(training))) for training in left],
            threads)


def check(trainings: Sequence[Training]) -> None:
    """Check, in parallel, whether detectors can be trained later.

    The teacher of a distilled one need not be trained yet.

    Args:
        trainings: the later trainings.

    Raises:
        TrainingError: one cannot be trained.
    """
    run([Job(training.name, [sys.executable, '-m', CHECK,
                             str(training.config_file)], training.root)
         for training in trainings])


def _command(training: Training, gpus: int) -> list[str]:
    tools = MIM / 'tools'
    config = str(training.config_file)
    start = ([sys.executable, str(tools / 'train.py'), config] if gpus < 2 else
             ['bash', str(tools / 'dist_train.sh'), config, str(gpus)])
    # without a checkpoint --resume warns of that
    resume = ['--resume'] if noted_checkpoint(training.work_dir) else []
    return [*start, '--work-dir', str(training.work_dir), *resume,
            *training.options]


@contextmanager
def _alone(training: Training) -> Iterator[int]:
    """Lock the work directory, so that no other process trains there."""
    try:
        with locked(training.work_dir) as file:
            yield file
    except Taken as e:
        raise TrainingError(
            f'[{training.name}] process {e} is already training into '
            f'{training.work_dir}; wait for it, or end it') from None
