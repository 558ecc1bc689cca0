"""What to distil between two heads, and why."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.models.detectors import BaseDetector, RTMDet
from mmengine.config import Config

from ...detectors import CrossKDRTMDet, CrossKDSingleStageDetector
from ...heads import HeadAdapter

PKD = "dict(type='PKDLoss', loss_weight=6.0)"
PAPER = ('ATSS', 'FCOS', 'GFL', 'Retina')  # heads that CrossKD's has
BASES = Path(__file__).parents[2] / '.mim' / 'configs' / '_base_'


class Choice(NamedTuple):
    """One key of ``kd_cfg``.

    Attributes:
        key: its name.
        text: its value, as it is written in a config.
        why: a comment; empty where the one before it says it.
    """
    key: str
    text: str
    why: str = ''


def detector_for(student: type, head: HeadAdapter) -> str:
    """The ``type`` of the distilled student.

    Args:
        student: the class of the plain one.
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
        FileNotFoundError: the family has none.
    """
    return Config.fromfile(_recipe_file(family)).recipe.to_dict()


def _recipe_file(family: str) -> Path:
    return BASES / f'crosskd_{family.lower()}.py'


def features_of(students: BaseDetector, teachers: BaseDetector,
                heads: Sequence[HeadAdapter | None]) -> Choice:
    """The loss of two detectors of which one has no head that is known.

    Args:
        students, teachers: the two.
        heads: theirs; None where it is not known.
    """
    reasons = []
    for whose, detector, head in zip(('student', 'teacher'),
                                     (students, teachers), heads):
        own = getattr(detector, 'bbox_head', None)
        if head is None:
            reasons.append(
                f'the {whose} ({type(detector).__name__}) has no dense head'
                if own is None else f"the {whose}'s {type(own).__name__} is "
                'of no family whose predictions can be distilled')
    return Choice('loss_feat_kd', PKD,
                  f'features alone (PKD), because {" and ".join(reasons)}')


def losses_for(teacher: HeadAdapter) -> list[Choice]:
    """The losses that compare two predictions of the teacher's head.

    They are those of the head's recipe.  A head without one has its outputs
    compared as those of ATSS, YOLOX and, where boxes are predicted as
    distributions, of GFL.
    """
    like = 'GFL' if teacher.num_bins else 'ATSS'
    why = (f"the CrossKD paper's losses and weights for {teacher.name} heads"
           if teacher.name in PAPER else
           f'the CrossKD paper has no {teacher.name} head: weights as for '
           f'{like}')
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
    """How a config writes it."""
    values = ', '.join(f'{key}={value!r}' for key, value in loss.items())
    return f'dict({values})'


def split_for(student: HeadAdapter, teacher: HeadAdapter) -> Choice:
    """How many layers the student keeps, and the teacher leaves out.

    All but the last, as in the paper, but 2 of 4 for FCOS.  Where a head
    cannot be split, both are split before their first layer, so that one
    FPN's features stand for the other's.
    """
    key = 'reused_teacher_head_idx'
    if not student.depth or not teacher.depth:
        whole = student if not student.depth else teacher
        return Choice(key, '0', f'a {whole.name} head is taken as a whole')
    theirs = _split_of(teacher)
    if student.depth == teacher.depth:
        as_there = ', as in the paper' if teacher.name in PAPER else ''
        return Choice(key, f'{theirs}',
                      f"the student's first {theirs} of {student.depth} "
                      f"layers, then the teacher's others{as_there}")
    ours = _split_of(student)
    return Choice(key, f'({ours}, {theirs})',
                  f"the student's first {ours} of {student.depth} layers, "
                  f"then the teacher's without {theirs} of {teacher.depth}")


def _split_of(head: HeadAdapter) -> int:
    if head.name == 'FCOS':
        return min(recipe_of('FCOS')['reused_teacher_head_idx'], head.depth)
    return head.depth - 1
