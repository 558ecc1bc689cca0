"""What to distil between two heads, and why."""
from collections.abc import Sequence
from typing import NamedTuple

from mmdet.models.detectors import BaseDetector, RTMDet

from ...detectors import CrossKDRTMDet, CrossKDSingleStageDetector
from ...heads import HeadAdapter

PAPER = ('ATSS', 'FCOS', 'GFL', 'Retina')  # heads that CrossKD's has
QFL = "dict(type='KDQualityFocalLoss', beta=1, loss_weight={})"
KL = ("dict(type='KnowledgeDistillationKLDivLoss', class_reduction='sum', "
      'T=1, loss_weight=4.0)')
BOXES = "dict(type='{}', loss_weight={})"
PKD = "dict(type='PKDLoss', loss_weight=6.0)"
SCORES = ("dict(type='CrossEntropyLoss', use_sigmoid=True, "
          'loss_weight=1.0)')


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

    Their weights are those of the CrossKD paper for that head.  For a head
    that it does not have they are those of ATSS or, where boxes are predicted
    as distributions, of GFL.
    """
    fcos = teacher.name == 'FCOS'
    why = (f"the CrossKD paper's losses and weights for {teacher.name} heads"
           if teacher.name in PAPER else
           f'the CrossKD paper has no {teacher.name} head: weights as for '
           + ('GFL' if teacher.num_bins else 'ATSS'))
    found = [Choice('loss_cls_kd', QFL.format(0.4 if fcos else 1.0), why)]
    if teacher.num_bins:
        found.append(Choice(
            'loss_reg_kd', KL,
            "the teacher's boxes are distributions of distances"))
    else:
        found.append(Choice('loss_reg_kd', BOXES.format(
            *(('IoULoss', 0.75) if fcos else ('GIoULoss', 1.0)))))
    for output, key, what in (
            ('quality', 'loss_center_kd', 'centerness or IoU'),
            ('objectness', 'loss_obj_kd', 'objectness')):
        if output in teacher.outputs and not fcos:
            found.append(Choice(key, SCORES, f'the teacher predicts {what}'))
    return found


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
    return min(2, head.depth) if head.name == 'FCOS' else head.depth - 1
