"""The text of a distillation config."""
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import mmdet
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ...compat.mmengine_logging import quiet
from ...configs import (
    BUILDER,
    find_config,
    is_distilled,
    model_of,
    read_config,
)
from ...errors import ConfigTypeError, ConfigValueError, describe
from ...heads import HeadAdapter, dense_head
from ...registry import in_our_scope
from ...teacher import RANDOM, Teacher
from .choosing import (
    Choice,
    detector_for,
    features_of,
    losses_for,
    split_for,
)
from .inheriting import by_base, by_import, is_python_style, module_of
from .plain import check_student, class_names, plain_class
from .published import published_weights

STUDENT, TEACHER = 'STUDENT_CONFIG', 'TEACHER_CONFIG'
WIDTH = 79
OPTIONS = ('With make_config, use the options --classes STUDENT=TEACHER … and '
           '--teacher-classes NAME …')
TEXTS = re.compile(r'''"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*\'''')


class Written(NamedTuple):
    """How a config names the other files, if that is fixed.

    Attributes:
        base: the student's config, as written in ``_base_``.
        teacher: the expression for ``teacher_config``.
        checkpoint: the expression for ``teacher_ckpt``.
        lines: more lines, after ``_base_``.
    """
    base: str
    teacher: str
    checkpoint: str
    lines: Sequence[str]


def make_config(student: str, teacher: str, checkpoint: str | None = None,
                folder: Path | None = None,
                classes: Mapping[str, str] | None = None,
                teacher_classes: Sequence[str] | None = None,
                written: Written | None = None) -> str:
    """Text of a config that trains one detector with the help of another.

    Both are built, the checkpoint is read, and the two are joined as at the
    start of a training.  The data is not opened.

    Args:
        student, teacher: plain configs: a path, or ``'package::….py'``.
        checkpoint: path or URL of the teacher's checkpoint; by default, the
            weights that mmdet, or another package, publishes for its config.
        folder: the folder for the config; by default the working directory.
        classes: the teacher's name for some of the student's classes.
        teacher_classes: names of the teacher's classes; by default, those in
            its checkpoint.
        written: how the config names the other files.  With it, a teacher
            that is not yet trained (``checkpoint='random'``) has the classes
            of its data.

    Returns:
        str: the config.  Paths in it are relative to the working directory,
        except ``_base_``, which mmengine reads relative to the config's own
        folder.

    Raises:
        FileNotFoundError: a config or the checkpoint does not exist.
        TypeError, ValueError: the two do not fit; the message says why.
    """
    cfg = read_config(student, STUDENT)
    ours_at = str(cfg.filename)
    theirs_at = find_config(teacher, TEACHER, Path(ours_at).parent)
    model_of(cfg, f'{STUDENT}={student!r}')
    here = folder or Path.cwd()
    module = module_of(f'{STUDENT}={student!r}', ours_at, here) if (
        is_python_style(ours_at)) else None
    scope = cfg.get('default_scope') or 'mmdet'
    with DefaultScope.overwrite_default_scope(scope):
        kind = plain_class(STUDENT, student, cfg)
        checkpoint = checkpoint or _published(teacher, theirs_at)
        detector = _built(student, cfg)
        taught = _read_teacher(teacher, theirs_at, checkpoint)
        if written and checkpoint == RANDOM:  # it is not yet trained
            taught.classes = _data_classes(theirs_at)
        ours, theirs = heads = _head_of(detector), _head_of(
            taught.detector, teaches=True)
        last: list[Choice] = []
        if ours and theirs:
            check_student(student, cfg, kind)
            distilled = detector_for(kind, ours)
            choices = losses_for(theirs)
            choices += _class_choices(cfg, taught, theirs_at, classes,
                                      teacher_classes)
            last.append(split_for(ours, theirs))
        else:
            distilled = BUILDER
            choices = [features_of(detector, taught.detector, heads)]
            if classes or teacher_classes:
                raise ConfigValueError(
                    '--classes, --teacher-classes: no classes are distilled, '
                    f'but {choices[0].why}. Remove these options')
        joined = _join(cfg, distilled, [*choices, *last], taught)
    named = written or Written(
        path_of(student, ours_at, here),
        repr(path_of(teacher, theirs_at, Path.cwd())), repr(checkpoint), ())
    if joined.pair.adapters:
        choices.append(Choice('adapter', "dict(type='ChannelAdapter')",
                              'the channels differ: this adds a trained 1x1 '
                              'convolution'))
    if module:
        opening = by_import(module, distilled)
        note = ['# paths: from the working directory']
    else:
        opening = by_base(named.base, _imports(cfg), distilled, _name(cfg),
                          named.lines)
        note = [] if (written or '::' in named.base
                      or os.path.isabs(named.base)) else [
            "# from this file's folder; other paths: from the working "
            'directory']
    both = [(student, detector, ours), (teacher, taught.detector, theirs)]
    said = [*([] if last else _compared(joined)), *joined.pair.notes]
    return '\n'.join([
        *_header(both, 'CrossKD' if last else 'PKD', cfg, said), *note,
        *opening.lines, f'    type={opening.kind},',
        *([] if last else [f'    detector={opening.plain},']),
        f'    teacher_config={named.teacher},',
        f'    teacher_ckpt={named.checkpoint},', '    kd_cfg=dict(',
        _keys([*choices, *last])]) + '))\n'


def _keys(choices: Sequence[Choice]) -> str:
    """The lines of ``kd_cfg``, without the comma after the last one."""
    return '\n'.join(map(_lines, choices)).removesuffix(',')


def _name(cfg: Config) -> str:
    """The name of a config's detector."""
    kind: Any = cfg.model.type
    return kind if isinstance(kind, str) else kind.__name__


def _class_choices(cfg: Config, teacher: Teacher, file: str,
                   classes: Mapping[str, str] | None,
                   given: Sequence[str] | None) -> list[Choice]:
    """The keys about the teacher's classes."""
    found = []
    if classes:
        found.append(Choice('classes', repr(dict(classes)),
                            "the teacher's names, from --classes"))
    names = given or _teacher_classes(
        teacher, file, class_names(cfg, 'train_dataloader'))
    if names:
        found.append(Choice(
            'teacher_classes', repr(tuple(names)),
            'from --teacher-classes' if given else
            "from the teacher's config: its checkpoint has no class names"))
    return found


def _built(student: str, cfg: Config) -> BaseDetector:
    try:
        # heads change the configs that they are built from
        return MODELS.build(in_our_scope(MODELS, model_of(cfg)))
    except Exception as e:  # of any class that the config names
        raise ConfigValueError(
            f'{STUDENT}={student!r}: model cannot be built: '
            f'{describe(e)}') from None


def _head_of(detector: BaseDetector,
             teaches: bool = False) -> HeadAdapter | None:
    """A detector's dense head, if crosskd supports it."""
    with suppress(ConfigTypeError):
        return dense_head(detector, teaches)
    return None


def _read_teacher(name: str, file: str, checkpoint: str) -> Teacher:
    cfg, found = read_config(file, TEACHER), f'{TEACHER}={name!r}'
    model_of(cfg, found)
    with DefaultScope.overwrite_default_scope(
            cfg.get('default_scope') or 'mmdet'):
        if not is_distilled(cfg.model, found):
            plain_class(TEACHER, name, cfg)
    teacher = Teacher(file, checkpoint, trust_ckpt=False)
    with quiet():
        teacher.read()
    return teacher


def _published(teacher: str, file: str) -> str:
    """The published weights of a teacher without a given checkpoint."""
    found = published_weights(path_of(teacher, file, Path.cwd()))
    if found is None:
        raise ConfigValueError(
            'TEACHER_CKPT is missing, and there are no published weights for '
            f'{TEACHER}={teacher!r}; expected the path or URL of the '
            "teacher's checkpoint")
    return found


def _data_classes(teacher: str) -> tuple[str, ...] | None:
    """Names of the classes in the data of a teacher's config."""
    names = class_names(read_config(teacher, TEACHER), 'train_dataloader',
                        'test_dataloader')
    return None if names is None else tuple(names)


def _teacher_classes(teacher: Teacher, file: str,
                     students: Sequence[str] | None) -> tuple | None:
    """Names of the teacher's classes, if the config has to give them."""
    if teacher.classes is not None:
        return None
    names = _data_classes(file)
    if names is None or students is None or tuple(names) == tuple(students):
        return None  # matched by index, in the same order
    return tuple(names) if len(names) == teacher.head.num_classes else None


def _join(cfg: Config, distilled: str, choices: Sequence[Choice],
          teacher: Teacher) -> Any:
    """The student with its teacher, as when training begins."""
    written = Config.fromstring(f'kd_cfg = dict(\n{_keys(choices)})', '.py')
    model = {**model_of(cfg), 'type': distilled, 'kd_cfg': written.kd_cfg}
    if distilled == BUILDER:
        model['detector'] = cfg.model.type
    built: Any = MODELS.build(in_our_scope(MODELS, model))
    names = class_names(cfg, 'train_dataloader')
    with quiet():  # the config says the same in its comments
        try:
            built.join_teacher(names, teacher)
        except ValueError as e:
            if 'classes' not in str(e):
                raise
            raise ConfigValueError(f'{e}. {OPTIONS}') from None
    return built


def _compared(model: Any) -> list[str]:
    """Which features of a joined student imitate the teacher's."""
    return [
        f"the student's features ({model.plan.student[name]}) are trained to "
        f"match the teacher's ({model.plan.teacher[name]}) at "
        f"{'stride' if len(strides) == 1 else 'the strides'} "
        f'{", ".join(f"{stride[0]:g}" for stride in strides)}'
        for name, strides in model.pair.strides.items()]


def _imports(cfg: Config) -> list[str]:
    """What the student's config imports, and this package."""
    own = (cfg.get('custom_imports') or {}).get('imports') or []
    own = [own] if isinstance(own, str) else own
    return list(dict.fromkeys([*own, 'crosskd']))


def _lines(choice: Choice) -> str:
    """A key of ``kd_cfg``, after its comment."""
    indent, deeper = ' ' * 8, ' ' * 12
    # names of classes are not broken
    text = TEXTS.sub(lambda found: found[0].replace(' ', '\0'), choice.text)
    return '\n'.join([
        *textwrap.wrap(choice.why, WIDTH, initial_indent=f'{indent}# ',
                       subsequent_indent=f'{indent}# '),
        *textwrap.wrap(f'{choice.key}={text},', WIDTH,
                       initial_indent=indent, subsequent_indent=deeper,
                       break_long_words=False, break_on_hyphens=False)]
                     ).replace('\0', ' ')


def _header(both: Sequence[tuple[str, BaseDetector, HeadAdapter | None]],
            method: str, cfg: Config, said: list[str]) -> list[str]:
    names = [
        f'{Path(name).stem} '
        f'({head.name if head else type(detector).__name__})'
        for name, detector, head in both]
    notes = list(said)
    neck = cfg.model.get('neck')
    ours = both[0][2]
    if method == 'CrossKD' and ours and ours.name == 'Retina' and isinstance(
            neck, dict) and neck.get('add_extra_convs') == 'on_input':
        notes.append("the CrossKD paper's RetinaNet students have "
                     "neck.add_extra_convs='on_output'; this student keeps "
                     "'on_input'")
    text = [f'{names[0]} learns from {names[1]}, by {method}.']
    text += [f'- {textwrap.shorten(note, 300, placeholder=" …")}'
             for note in notes]
    return [line for one in text for line in textwrap.wrap(
        one, WIDTH, initial_indent='# ', break_long_words=False,
        subsequent_indent='#   ' if one.startswith('-') else '# ')]


def path_of(name: str, file: str, folder: Path) -> str:
    """The path by which a config in a folder names another config."""
    installed = Path(mmdet.__file__).parent / '.mim/configs'
    here, path = Path.cwd(), Path(os.path.abspath(file))
    if '::' in name:
        return name
    if path.is_relative_to(installed):
        return f'mmdet::{path.relative_to(installed)}'
    if path.is_relative_to(here) and folder.is_relative_to(here):
        return os.path.relpath(path, folder)
    return str(path)
