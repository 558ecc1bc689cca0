"""The trainings of a folder that ``make_config --data`` wrote."""
import io
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mmdet.utils import register_all_modules
from mmengine.config import Config

from ...configs import read_config
from ...errors import ConfigFileNotFoundError, ConfigValueError
from ..compare.data import read_test_sets
from ..compare.work_dirs import OF_THE_RUN, WorkDir, read_work_dir
from .trainings import Training

TEACHER, STUDENT, DISTILLED = 'teacher', 'student', 'distilled'
NAMES = {TEACHER: 'teacher', STUDENT: 'student alone',
         DISTILLED: 'distilled student'}
SHOWN = 3  # keys in a message
# keys that may differ between two trainings of the same config
VARYING = {*OF_THE_RUN, 'model_wrapper_cfg', 'model.teacher_ckpt'}


def trainings_of(folder: Path, alone: bool) -> list[Training]:
    """The trainings, in order.

    Args:
        folder: the folder with ``distilled.py``, and ``teacher.py`` if the
            teacher is trained here.
        alone: whether ``student.py`` is trained, too.

    Raises:
        FileNotFoundError: the folder or a config does not exist.
        ValueError: a config cannot be read, or the trained detectors could
            not be compared.
    """
    _check_files(folder, alone)
    parts = [part for part in NAMES
             if (folder / f'{part}.py').is_file()
             and (alone or part != STUDENT)]
    found = [Training(NAMES[part], folder / f'{part}.py',
                      folder / 'work_dirs' / part) for part in parts]
    with redirect_stdout(io.StringIO()):  # pycocotools counts its seconds
        register_all_modules()
        tested = [_tested(training) for training in found]
        # report now what could not be compared in the end
        read_test_sets([work_dir for work_dir, _ in tested])
    for _, changed in tested:
        if changed:
            print(changed, flush=True)
    return found


def _check_files(folder: Path, alone: bool) -> None:
    write = ('python -m crosskd make_config --data DATA --out '
             f'{shlex.quote(str(folder))}')
    if folder.is_file():
        raise ConfigValueError(
            f'{folder}: is a file; expected the folder that make_config '
            f'--data has written, such as {folder.parent}')
    if not folder.is_dir():
        raise ConfigFileNotFoundError(
            f'{folder}: no such folder (looked from {Path.cwd()}). Create it '
            f'with:\n  {write}')
    needed = [f'{part}.py' for part in (DISTILLED, *[STUDENT] * alone)]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        names = ', '.join(sorted(f.name for f in folder.glob('*.py')))
        raise ConfigFileNotFoundError(
            f'{folder}: expected {" and ".join(needed)}, found '
            f'{names or "no configs"}. Write them with:\n  {write}')


def _tested(training: Training) -> tuple[WorkDir, str]:
    """What will be compared, and which keys of its config have changed.

    A finished training keeps the config that it was trained with.
    """
    present = read_config(str(training.config_file), training.name)
    if training.is_finished:
        trained = read_work_dir(training.work_dir)
        return trained, _changes(training, trained.cfg, present)
    gone = [key for key in ('model', 'train_cfg', 'train_dataloader',
                            'test_dataloader', 'test_evaluator')
            if present.get(key) is None]
    if gone:
        raise ConfigValueError(
            f'{training.config_file}: expected the config of a detector and '
            f'its data, but it has no {", ".join(gone)}')
    return WorkDir(training.config_file, present, training.work_dir), ''


def _changes(training: Training, trained: Config, present: Config) -> str:
    keys = list(differences(trained.to_dict(), present.to_dict()))
    if not keys:
        return ''
    more = f' and {len(keys) - SHOWN} more' * (len(keys) > SHOWN)
    return (f'[{training.name}] {training.config_file} has changed since it '
            f'was trained ({", ".join(keys[:SHOWN])}{more}). To train it '
            f'again, remove {training.work_dir}')


def differences(one: Mapping[str, Any], other: Mapping[str, Any],
                above: str = '') -> Iterator[str]:
    """Dotted keys that differ, without those that vary from run to run.

    Args:
        one, other: contents of two configs.
        above: the key of both, with its dot.
    """
    for key in sorted({*one, *other}):
        name = f'{above}{key}'
        mine, theirs = one.get(key), other.get(key)
        if name in VARYING or _text(mine) == _text(theirs):
            continue
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            yield from differences(mine, theirs, f'{name}.')
        else:
            yield name


def _text(value: Any) -> str:
    # a tuple in one file may be a list in another
    return json.dumps(value, sort_keys=True, default=str)
