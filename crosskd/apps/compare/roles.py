"""Finding the teacher and the baseline of each detector."""
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope

from ...configs import (
    detector_class,
    is_distilled,
    model_of,
    plain_model,
    read_config,
)
from ...errors import ConfigValueError
from ...names import did_you_mean
from .data import scope_of
from .work_dirs import Group, WorkDir


@dataclass(frozen=True)
class Role:
    """The relation of a detector to the others, by their indices.

    Attributes:
        distilled: whether it was trained with a teacher.
        teacher: its teacher, if that is among the others.
        baseline: the detector over which its gain is measured, if any.
    """
    distilled: bool
    teacher: int | None
    baseline: int | None


def roles(groups: Sequence[Group], parameters: Sequence[int],
          baseline: int | None = None) -> list[Role]:
    """Find the roles of the detectors from their configs.

    Args:
        groups: the detectors.
        parameters: their numbers of parameters.
        baseline: the detector over which the gains of all others are measured.
            By default only distilled detectors have a baseline: the plain
            detector of the same class and number of parameters.  If there
            are several, one with the same model config is preferred.  A
            teacher is never the baseline of its student.
    """
    plain = [_plain(group.members[0]) for group in groups]
    distilled = [_is_distilled(group.members[0]) for group in groups]
    found = []
    for at, group in enumerate(groups):
        teacher = next((
            place for place, other in enumerate(groups)
            if place != at and distilled[at]
            and any(_taught(one, member) for one in other.members
                    for member in group.members)), None)
        if baseline is not None:
            over = baseline if baseline != at else None
        else:
            alike = [
                place for place in range(len(groups))
                if distilled[at] and not distilled[place]
                and place != teacher
                and plain[place]['type'] == plain[at]['type']
                and parameters[place] == parameters[at]]
            alike.sort(key=lambda place: plain[place] != plain[at])
            over = alike[0] if alike else None
        found.append(Role(distilled[at], teacher, over))
    return found


def chosen(baseline: str | Path, groups: Sequence[Group]) -> int:
    """The index of the detector that ``--baseline`` names.

    Args:
        baseline: its name in the table, or one of its work directories.
        groups: the detectors.

    Raises:
        ValueError: it names none of them.
    """
    for place, group in enumerate(groups):
        folders = [member.folder.resolve() for member in group.members]
        if group.name == str(baseline) or Path(baseline).resolve() in folders:
            return place
    known = [group.name for group in groups]
    raise ConfigValueError(
        f'--baseline={str(baseline)!r}: expected one of the compared work '
        f'directories, or one of their names, which are {", ".join(known)}'
        f'{did_you_mean(baseline, known)}')


def _is_distilled(work_dir: WorkDir) -> bool:
    with DefaultScope.overwrite_default_scope(scope_of(work_dir.cfg)):
        return is_distilled(work_dir.cfg.model, f'{work_dir.folder}: config')


def _plain(work_dir: WorkDir) -> dict[str, Any]:
    """The model without its teacher, in a form that can be compared."""
    key = f'{work_dir.folder}: config'
    with DefaultScope.overwrite_default_scope(scope_of(work_dir.cfg)):
        model = plain_model(model_of(work_dir.cfg, key), key)
        return dict(_comparable(model), type=detector_class(model, key))


def _comparable(model: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(model, sort_keys=True, default=str))


def _taught(teacher: WorkDir, student: WorkDir) -> bool:
    """Whether a work directory's checkpoint was the student's teacher."""
    model = student.cfg.model
    file = model.get('teacher_ckpt')
    if not isinstance(file, (str, os.PathLike)):
        return False
    folder = Path(os.path.abspath(file)).parent.resolve()
    if folder in {teacher.folder.resolve(),
                  teacher.checkpoint.parent.resolve()}:
        return True
    # the folder may have been moved since
    if not (teacher.folder / Path(file).name).is_file():
        return False
    config = model.get('teacher_config')
    try:
        if isinstance(config, (str, os.PathLike)):
            config = read_config(str(config), 'teacher_config',
                                 student.folder)
        same = model_of(config), model_of(teacher.cfg)
    except (OSError, TypeError, ValueError):
        return False
    return _comparable(same[0]) == _comparable(same[1])
