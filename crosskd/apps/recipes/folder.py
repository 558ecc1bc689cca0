"""A folder of configs for a user's data: data, teacher, student, distilled.

All of them are written, or none.
"""
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ...configs import model_of, read_config
from ...errors import ConfigError, ConfigValueError
from ...teacher import RANDOM
from .config_text import Written, make_config, path_of
from .data_config import FILE, HERE, data_text, taken_names
from .detector_config import DetectorConfig
from .inheriting import is_python_style
from .own_data import Data, read_data
from .plain import plain_class
from .published import published_weights

GFL = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'  # the default teacher
# the default student is the same detector with this backbone
R18 = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]))
TEACHER, STUDENT, DISTILLED = 'teacher.py', 'student.py', 'distilled.py'
OWN_LINES = (f"work_dir = '{HERE}/work_dirs/{Path(DISTILLED).stem}'", )
CONFIGS = (FILE, TEACHER, STUDENT, DISTILLED)


class Configs(NamedTuple):
    """What was written.

    Attributes:
        folder: the folder.
        files: the names of the files.
        said: notes for the user about the choices made.
    """
    folder: Path
    files: list[str]
    said: list[str]


def write_configs(data: str | Path, out: str | Path,
                  student: str | None = None, teacher: str | None = None,
                  teacher_ckpt: str | None = None,
                  trial: bool = False,
                  classes: Mapping[str, str] | None = None,
                  teacher_classes: Sequence[str] | None = None) -> Configs:
    """Write the configs of a teacher, a student, and the distillation.

    Args:
        data: a folder with COCO annotations and images.
        out: the folder for the configs; it may exist.
        student, teacher: plain configs, a path or ``'mmdet::….py'``; by
            default GFL with a ResNet-18 and with a ResNet-50.
        teacher_ckpt: path or URL of a trained teacher's checkpoint.  Then no
            teacher.py is written, and ``teacher`` must be the config that it
            was trained with.
        trial: write configs that train for one epoch on 40 images.
        classes, teacher_classes: as for :func:`make_config`, for the teacher
            of ``teacher_ckpt``.

    Raises:
        FileNotFoundError: the data, a config or the checkpoint is missing.
        TypeError, ValueError: the data cannot be read, the two detectors do
            not fit, or ``out`` already has other configs.  Then nothing is
            written.
    """
    if teacher_ckpt and not teacher:
        raise ConfigValueError(
            '--teacher-ckpt: expected --teacher, too: the config that this '
            'checkpoint was trained with')
    folder = Path(os.path.abspath(Path(out).expanduser()))
    found = f'--out={str(out)!r}'
    if folder.exists() and not folder.is_dir():
        raise ConfigValueError(f'{found}: is a file; expected a folder')
    root = Path(os.path.abspath(Path(data).expanduser()))
    read = read_data(root, f'--data={str(data)!r}', folder, trial)
    ours = _detector(STUDENT, student, folder, read, trial)
    with _beside(folder, found) as part:
        if teacher and teacher_ckpt:
            both = [ours]
            learns = partial(make_config, teacher=teacher,
                             checkpoint=_anywhere(teacher_ckpt),
                             written=_trained(teacher, teacher_ckpt, folder))
        else:
            theirs = _detector(TEACHER, teacher, folder, read, trial)
            theirs.share_with(ours)
            both = [theirs, ours]
            learns = partial(make_config, teacher=str(part / TEACHER),
                             checkpoint=RANDOM, written=_untrained(theirs))
        said = _write_parts(part, both, read)
        try:
            text = learns(str(part / STUDENT), classes=classes,
                          teacher_classes=teacher_classes)
        except ConfigError as e:
            raise type(e)(str(e).replace(str(part), str(folder))) from None
        (part / DISTILLED).write_text(text, encoding='utf-8')
        files = _publish(part, folder, found)
    return Configs(folder, files, [*read.said, *said])


def _write_parts(part: Path, both: Sequence[DetectorConfig],
                 data: Data) -> list[str]:
    """Write all but distilled.py; return notes for the user."""
    said = []
    for one in both:
        (part / one.name).write_text(one.text(), encoding='utf-8')
        if one.name == TEACHER:
            said.append(f'{TEACHER} starts from the published weights of '
                        f'{one.base}' if one.weights else
                        f'{TEACHER} starts from the same weights as '
                        f'{one.base}: no published weights were found for '
                        'this config')
        said += one.kept
    student = both[-1]
    (part / FILE).write_text(data_text(
        data, student.batch_size,
        student.epochs if student.goes_by_epochs else None,
        [one.name for one in both if one.scales],
        [one.name for one in both]), encoding='utf-8')
    for split in (data.train, data.val):
        if split.rewritten:
            (part / f'{split.name}.json').write_text(
                json.dumps(split.content))
    return said


def _untrained(teacher: DetectorConfig) -> Written:
    """How distilled.py names a teacher that teacher.py trains."""
    return Written(f'./{STUDENT}', f"'{HERE}/{TEACHER}'",
                   f"'{HERE}/work_dirs/{Path(TEACHER).stem}/'\n        "
                   f'{teacher.last_checkpoint}', OWN_LINES)


def _trained(teacher: str, checkpoint: str, folder: Path) -> Written:
    """How distilled.py names a teacher that is already trained."""
    file = str(read_config(teacher, '--teacher').filename)
    name = path_of(teacher, file, folder)
    return Written(f'./{STUDENT}',
                   repr(name if '::' in name else os.path.abspath(file)),
                   repr(_anywhere(checkpoint)), OWN_LINES)


def _detector(file: str, name: str | None, folder: Path, data: Data,
              trial: bool) -> DetectorConfig:
    """The config of the teacher or of the student on the data.

    Its batch size is that of the config, if there are as many images.
    """
    key = f'--{Path(file).stem}'
    changes: Mapping[str, Any] = R18 if not name and file == STUDENT else {}
    name = name or GFL
    cfg = read_config(name, key)
    found = f'{key}={name!r}'
    with DefaultScope.overwrite_default_scope(
            cfg.get('default_scope') or 'mmdet'):
        model_of(cfg, found)
        plain_class(key, name, cfg)
    if is_python_style(str(cfg.filename)):
        raise ConfigValueError(
            f'{found}: this config is of the pure Python style, which the '
            'configs for --data cannot inherit; expected one of the style '
            'with _base_')
    _check_inheritable(found, cfg)
    base = path_of(name, str(cfg.filename), folder)
    cfg.merge_from_dict(dict(model=changes))
    own = min((cfg.get('train_dataloader') or {}).get('batch_size', 1),
              len(data.train.content['images']))
    return DetectorConfig(
        file, base, cfg, data, own, changes,
        published_weights(base) if file == TEACHER else None, trial)


def _check_inheritable(found: str, cfg: Config) -> None:
    taken = taken_names(cfg)
    if taken:
        raise ConfigValueError(
            f'{found}: this config has {", ".join(taken)}, which {FILE} also '
            'has. Expected a config that make_config did not write')


def _anywhere(checkpoint: str) -> str:
    """A checkpoint's path that is valid in any working directory."""
    if checkpoint == RANDOM or '://' in checkpoint:
        return checkpoint
    return os.path.abspath(Path(checkpoint).expanduser())


@contextmanager
def _beside(folder: Path, found: str) -> Iterator[Path]:
    """A temporary folder next to another folder."""
    part = folder.with_name(f'.{folder.name}.{os.getpid()}')
    made = [up for up in part.parents if not up.exists()]
    try:
        try:
            part.mkdir(parents=True)
        except OSError as e:
            raise ConfigValueError(f'{found}: cannot be written: '
                                   f'{e.strerror or e}') from None
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for up in made:
            if up.is_dir() and not any(up.iterdir()):
                up.rmdir()


def _publish(part: Path, folder: Path, found: str) -> list[str]:
    """Move all files to the folder.

    Raises:
        ValueError: it already has files of these names with other contents.
    """
    files = sorted(file.name for file in part.iterdir())
    ours = {*CONFIGS, *files}
    differing = [name for name in sorted(ours) if (folder / name).exists()
                 and (name not in files or (folder / name).read_bytes()
                      != (part / name).read_bytes())]
    if differing:
        raise ConfigValueError(
            f'{found}: this folder already has {", ".join(differing)}, with '
            'other contents than would be written now. Choose another folder, '
            'or remove these files')
    try:
        if not folder.exists():
            part.rename(folder)
            return files
        for name in files:
            (part / name).replace(folder / name)
    except OSError as e:
        raise ConfigValueError(f'{found}: cannot be written: '
                               f'{e.strerror or e}') from None
    return files


