"""Finding configs and checkpoints in work directories; grouping seeds."""
import copy
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ...checkpoints.noted import noted_checkpoint
from ...configs import read_config
from ...errors import ConfigFileNotFoundError, ConfigValueError
from .logs import sessions

NUMBERED = re.compile(r'(epoch|iter)_(\d+)\.pth')
# keys that may differ between repeated trainings: where and how they were
# started
OF_THE_RUN = ('work_dir', 'resume', 'launcher', 'log_level', 'gpu_ids')


@dataclass(frozen=True)
class WorkDir:
    """One trained detector.

    Attributes:
        folder: the folder, as the user named it.
        cfg: the config of its training.
        checkpoint: the checkpoint to compare.
    """
    folder: Path
    cfg: Config
    checkpoint: Path

    @property
    def seed(self) -> int | None:
        return (self.cfg.get('randomness') or {}).get('seed')


@dataclass(frozen=True)
class Group:
    """Work directories that differ only by the seed: one row of the table."""
    name: str
    members: tuple[WorkDir, ...]


def read_work_dir(folder: Path, which: str = 'last') -> WorkDir:
    """Find the config and the checkpoint of a training.

    Args:
        folder: a work directory, or a folder with one config and one
            checkpoint.
        which: ``'last'`` or ``'best'`` checkpoint.

    Raises:
        FileNotFoundError: the folder, its config or checkpoint is missing.
        ValueError: it has several configs, or one that cannot be read.
    """
    if not folder.is_dir():
        raise ConfigFileNotFoundError(
            f'{folder}: no such folder (looked from {Path.cwd()}); expected '
            'the work directory of a training')
    file = _config_file(folder)
    cfg = read_config(str(file), f'{folder}: config')
    gone = [key for key in ('model', 'test_dataloader', 'test_evaluator')
            if cfg.get(key) is None]
    if gone:
        raise ConfigValueError(
            f'{file}: expected the config of a detector with '
            f'its test data, but it has no {", ".join(gone)}')
    return WorkDir(folder, cfg, _checkpoint(folder, which))


def _config_file(folder: Path) -> Path:
    """The config that the newest training session wrote."""
    for scalars in reversed(sessions(folder)):
        config = scalars.with_name('config.py')
        if config.is_file():
            return config
    configs = sorted(folder.glob('*.py'))
    if not configs:
        raise ConfigFileNotFoundError(
            f'{folder}: no config found; expected the *.py and the '
            '*/vis_data/ that a training writes there')
    if len(configs) > 1:
        raise ConfigValueError(
            f'{folder}: several configs, and no training log that says which '
            f'to use: {", ".join(c.name for c in configs)}')
    return configs[0]


def _checkpoint(folder: Path, which: str) -> Path:
    last = noted_checkpoint(folder)
    # first in this folder, which may have been moved; then in CheckpointHook's
    # out_dir
    places = [folder, *([last.parent] if last else [])]
    for place in places:
        found = _chosen(place, which, last)
        if found is not None:
            return found
    where = ' and '.join(dict.fromkeys(map(str, places)))
    if which == 'best':
        raise ConfigFileNotFoundError(
            f'{where}: no best_*.pth; to keep one, train with '
            "default_hooks.checkpoint.save_best='auto'")
    names = sorted({f.name for place in places for f in place.glob('*.pth')})
    raise ConfigFileNotFoundError(
        f'{where}: cannot choose a checkpoint; expected epoch_*.pth, '
        f'iter_*.pth or one *.pth, found {", ".join(names) or "none"}')


def _chosen(place: Path, which: str, last: Path | None) -> Path | None:
    """A checkpoint of a folder; None if none can be chosen."""
    files = list(place.glob('*.pth'))
    if which == 'best':
        best = [f for f in files if f.name.startswith('best_')]
        return max(best, key=lambda f: f.stat().st_mtime_ns, default=None)
    if last is not None and (place / last.name).is_file():
        return place / last.name
    numbered = {int(match[2]): f for f in files
                if (match := NUMBERED.fullmatch(f.name))}
    if numbered:
        return numbered[max(numbered)]
    return files[0] if len(files) == 1 else None


def group(work_dirs: Sequence[WorkDir]) -> list[list[WorkDir]]:
    """Group work directories that differ only by the seed, in order.

    Configs are compared without the seed and :data:`OF_THE_RUN`.  If the seeds
    differ, ``teacher_ckpt`` may differ, too: each seed may have its own
    teacher.
    """
    groups: dict[str, list[WorkDir]] = {}
    for work_dir in work_dirs:
        groups.setdefault(_comparable(work_dir.cfg), []).append(work_dir)
    found = []
    for members in groups.values():
        teachers: dict[str, list[WorkDir]] = {}
        for member in members:
            teachers.setdefault(
                str(member.cfg.model.get('teacher_ckpt')), []).append(member)
        seeds = [m.seed for m in members]
        if len(set(seeds)) == len(seeds):
            found.append(members)
        else:
            found += teachers.values()
    return found


def _comparable(cfg: Config) -> str:
    content = copy.deepcopy(cfg.to_dict())
    if content.get('resume'):
        content['load_from'] = None  # where it was resumed from
    for key in OF_THE_RUN:
        content.pop(key, None)
    (content.get('randomness') or {}).pop('seed', None)
    content['model'].pop('teacher_ckpt', None)
    if not content.get('randomness'):
        content.pop('randomness', None)
    return json.dumps(content, sort_keys=True, default=str)


def named(groups: Sequence[Sequence[WorkDir]],
          names: Sequence[str] | None = None) -> list[Group]:
    """Give each group a unique name.

    Args:
        groups: groups of work directories.
        names: one for each group; by default those of the folders, with
            parent folders if needed to tell them apart.

    Raises:
        ValueError: there are more or fewer names than groups, or duplicates.
    """
    if names is None:
        names = _folder_names(groups)
    elif len(names) != len(groups):
        found = ', '.join(str(members[0].folder) for members in groups)
        raise ConfigValueError(
            f'--names: {len(names)} given for {len(groups)} detectors '
            f'({found}; work directories that differ only by the seed count '
            'as one)')
    elif len(set(names)) < len(names):
        raise ConfigValueError(f'--names: expected different names, found '
                               f'{", ".join(names)}')
    return [Group(name, tuple(members))
            for name, members in zip(names, groups)]


def _folder_names(groups: Sequence[Sequence[WorkDir]]) -> list[str]:
    parts = [members[0].folder.absolute().parts[1:] for members in groups]
    depth = 1
    while depth < max(map(len, parts)) and len(
            {p[-depth:] for p in parts}) < len(parts):
        depth += 1
    names = ['/'.join(p[-depth:]) for p in parts]
    for index, members in enumerate(groups):
        own = {m.folder.absolute().name for m in members}
        shared = os.path.commonprefix(sorted(own)).rstrip('_-. ')
        if len(own) > 1 and shared and shared not in names:
            names[index] = shared  # 'gfl_seed' of gfl_seed0 and gfl_seed1
    return names
