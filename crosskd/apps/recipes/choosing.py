"""Choosing what to distil between two heads, with reasons."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.models.detectors import BaseDetector, RTMDet
from mmengine.config import Config

from ...detectors import CrossKDRTMDet, CrossKDSingleStageDetector
from ...heads import HeadAdapter

PKD = "dict(type='PKDLoss', loss_weight=6.0)"
PAPER = ('ATSS', 'FCOS', 'GFL', 'Retina')  # heads in the CrossKD paper
BASES = Path(__file__).parents[2] / '.mim' / 'configs' / '_base_'


class Choice(NamedTuple):
    """One key of ``kd_cfg``.

    Attributes:
        key: its name.
        text: its value, as it is written in a config.
        why: a comment; empty if the comment before it covers this key.
    """
    key: str
    text: str
    why: str = ''


def detector_for(student: type, head: HeadAdapter) -> str:
    """The ``type`` of the distilled student.

    Args:
        student: the class of the plain student.
        head: its head.
    """
    if issubclass(student, RTMDet):
        return CrossKDRTMDet.__name__
    for kind in CrossKDSingleStageDetector.__subclasses__():
        if kind.family is type(head) and kind is not CrossKDRTMDet and (
                kind.__module__ == CrossKDSingleStageDetector.__module__):
            return kind.__name__
    return CrossKDSingleStageDetector.__name__


def recipe_of(family: str) -> dict[str, Any]:
    """What is distilled between two heads of a family.

    Args:
        family: the name of the head's adapter, such as ``'GFL'``.

    Returns:
        dict: its ``kd_cfg``, as the configs inherit it from
        ``configs/_base_/crosskd_gfl.py``.

    Raises:
        FileNotFoundError: there is no recipe for this family.
    """
    return Config.fromfile(_recipe_file(family)).recipe.to_dict()


def _recipe_file(family: str) -> Path:
    return BASES / f'crosskd_{family.lower()}.py'


def features_of(students: BaseDetector, teachers: BaseDetector,
                heads: Sequence[HeadAdapter | None]) -> Choice:
    """The loss for two detectors if crosskd does not support both heads.

    Args:
        students, teachers: the two detectors.
        heads: their heads; None for one that is not supported.
    """
    reasons = []
    for whose, detector, head in zip(('student', 'teacher'),
                                     (students, teachers), heads):
        own = getattr(detector, 'bbox_head', None)
        if head is None:
            reasons.append(
                f'the {whose} ({type(detector).__name__}) has no dense head'
                if own is None else 'crosskd cannot distil the predictions of '
                f"the {whose}'s {type(own).__name__}")
    return Choice('loss_feat_kd', PKD,
                  f'only features (PKD), because {" and ".join(reasons)}')


def losses_for(teacher: HeadAdapter) -> list[Choice]:
    """The losses between the student's and the teacher's predictions.

    They come from the recipe of the teacher's head.  If there is no recipe,
    the losses of ATSS, of YOLOX and, for boxes that are predicted as
    distributions, of GFL are used.
    """
    like = 'GFL' if teacher.num_bins else 'ATSS'
    why = (f"the CrossKD paper's losses and weights for {teacher.name} heads"
           if teacher.name in PAPER else
           f'the CrossKD paper has no {teacher.name} heads: these are the '
           f'weights for {like}')
    own = teacher.name if _recipe_file(teacher.name).is_file() else None
    found = []
    for key, output, source, said in (
            ('loss_cls_kd', 'cls', like, why),
            ('loss_reg_kd', 'reg', like, teacher.num_bins and
             "the teacher's boxes are distributions of distances"),
            ('loss_center_kd', 'quality', 'ATSS',
             'the teacher predicts centerness or IoU'),
            ('loss_obj_kd', 'objectness', 'YOLOX',
             'the teacher predicts objectness')):
        recipe = recipe_of(own or source)
        if key in recipe and output in teacher.outputs:
            found.append(Choice(key, _text(recipe[key]), said or ''))
    return found


def _text(loss: dict[str, Any]) -> str:
    """The loss as it is written in a config."""
    values = ', '.join(f'{key}={value!r}' for key, value in loss.items())
    return f'dict({values})'


def split_for(student: HeadAdapter, teacher: HeadAdapter) -> Choice:
    """The number of layers that the student keeps and the teacher skips.

    All but the last, as in the paper, but 2 of 4 for FCOS.  If one head cannot
    be split, both are split before their first layer, so that the teacher's
    whole head runs on the student's FPN features.
    """
    key = 'reused_teacher_head_idx'
    if not student.depth or not teacher.depth:
        whole = student if not student.depth else teacher
        return Choice(key, '0', f'{whole.name} heads are not split: the whole '
                      "teacher's head runs on the student's FPN features")
    theirs = _split_of(teacher)
    if student.depth == teacher.depth:
        as_there = ' (as in the paper)' if teacher.name in PAPER else ''
        return Choice(key, f'{theirs}',
                      f"the first {theirs} of the student's {student.depth} "
                      f"layers, then the last {teacher.depth - theirs} of the "
                      f"teacher's {teacher.depth}{as_there}")
    ours = _split_of(student)
    return Choice(key, f'({ours}, {theirs})',
                  f"the first {ours} of the student's {student.depth} layers, "
                  f"then the last {teacher.depth - theirs} of the teacher's "
                  f'{teacher.depth}')


def _split_of(head: HeadAdapter) -> int:
    if head.name == 'FCOS':
        return min(recipe_of('FCOS')['reused_teacher_head_idx'], head.depth)
    return head.depth - 1
