"""A checkpoint that its teacher's training has not written yet."""
import re
from pathlib import Path
from typing import Any

from ..checkpoints.noted import noted_checkpoint
from ..configs import read_config
from ..errors import ConfigError, ConfigFileNotFoundError

WORK_DIRS = 'work_dirs'  # has a folder for each config that was trained


def check_trained(ckpt: str, config: Any, beside: Path | None) -> None:
    """Check that a teacher's checkpoint is there, if it is to train it.

    Args:
        ckpt: path of the checkpoint.
        config: the teacher's config, as for
            :class:`~crosskd.teacher.Teacher`.
        beside: the folder of the student's config, if it is known.

    Raises:
        FileNotFoundError: it is not there, and its folder is where the
            training of ``config`` writes.  The message names the command, and
            the newest checkpoint that the folder has.
    """
    path = Path(ckpt).expanduser()
    if path.is_file() or not isinstance(config, (str, Path)):
        return
    try:
        cfg = read_config(str(config), 'teacher_config', beside)
    except ConfigError:
        return  # which is told when the config is read
    folder, stem = path.parent, Path(cfg.filename).stem
    # where the train command writes
    work_dir = Path(cfg.get('work_dir') or Path(WORK_DIRS, stem))
    is_theirs = folder.resolve() == work_dir.resolve()
    if not is_theirs and folder.parts[-2:] != (WORK_DIRS, stem):
        return
    is_at_hand = '::' in str(config) or Path(config).is_file()
    command = ('python -m crosskd train '
               f'{config if is_at_hand else cfg.filename}')
    if not is_theirs:
        command += f' --work-dir {folder}'
    newest = _newest(folder)
    if newest is None:
        advice = f'Train the teacher first: {command}'
    else:
        advice = (f'The newest checkpoint in that folder is {newest!r}: name '
                  f'it, or train the teacher to its end: {command} --resume')
    raise ConfigFileNotFoundError(
        f'teacher_ckpt={ckpt!r}: no such file (looked from {Path.cwd()}). '
        f'{advice}')


def _newest(folder: Path) -> str | None:
    """Name of the newest checkpoint in a folder; None if there is none."""
    found = {path.name: path for path in folder.glob('*.pth')}
    last = noted_checkpoint(folder)
    if last is not None and last.name in found:
        return last.name
    return max(found, key=_number, default=None)


def _number(name: str) -> tuple[int, str]:
    """Epoch or iteration of a checkpoint; -1 if its name says none."""
    number = re.search(r'(\d+)\.pth$', name)
    return (int(number[1]) if number else -1), name
