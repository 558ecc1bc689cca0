"""What a student learns from its teacher, in one line of the log."""
from mmdet.models.detectors import BaseDetector

from ..heads import HeadAdapter
from ..pairs import DensePair, Pair
from ..taps import Plan
from ..teacher import FeatureTeacher
from .mixin import DistillationMixin


def summary(model: DistillationMixin) -> str:
    """Say the methods, the two detectors, what they share, and the losses.

    Args:
        model: the student, after ``join_teacher()``.

    Returns:
        str: such as ``'Distilling with CrossKD: GFLHead (ResNet-50) teaches
        GFLHead (ResNet-18); layers kept: 3 of the student's 4, then the last 1
        of the teacher's 4; 5 levels; 80 classes; loss_cls_kd x 1.0,
        loss_reg_kd x 4.0'``.
    """
    pair, distillers = model.pair, model.distillers
    parts = []
    if isinstance(pair, DensePair):
        if pair.split is not None:
            parts.append(_kept(pair.split, pair.student, pair.teacher))
        parts.append(_share(len(pair.levels), len(pair.student.strides),
                            'levels'))
        parts.append(_share(pair.num_classes, pair.student.num_classes,
                            'classes'))
    else:
        parts.extend(_features(pair, model.plan))
    parts.append(', '.join(
        f'{name} x {weight}' for name, weight in distillers.weights.items()))
    return (f'Distilling with {" + ".join(distillers.methods)}: '
            f'{_name(model.teacher.detector)} teaches {_name(model)}; '
            + '; '.join(filter(None, parts)))


def _kept(split: tuple[int, int], ours: HeadAdapter,
          theirs: HeadAdapter) -> str:
    left = theirs.depth - split[1]
    rest = (f"the last {left} of the teacher's {theirs.depth}" if left else
            "the teacher's prediction layers")
    return (f"layers kept: {split[0]} of the student's {ours.depth}, then "
            f'{rest}')


def _share(shared: int, every: int, what: str) -> str:
    if shared == every:
        return f'{every} {what}'
    return f"{shared} of the student's {every} {what}"


def _features(pair: Pair, plan: Plan) -> list[str]:
    """By what is compared, where it is taken and how many levels it has."""
    found = []
    for name, matched in pair.matched.items():
        ours, theirs = plan.student[name], plan.teacher[name]
        where = f'{ours}' if ours == theirs else (
            f"the student's {ours} and the teacher's {theirs}")
        s = 's' if len(matched) > 1 else ''
        found.append(f'features of {where}, {len(matched)} level{s}')
    return found


def _name(detector: BaseDetector) -> str:
    """Its dense head, or else its plain class, and its backbone."""
    if isinstance(detector, FeatureTeacher):
        return detector.title
    head = getattr(detector, 'bbox_head', None)
    kind = type(head) if head is not None else next(
        kind for kind in type(detector).__mro__
        if not getattr(kind, 'is_distilled', False))
    backbone = getattr(detector, 'backbone', None)
    depth = getattr(backbone, 'depth', None)
    size = f'-{depth}' if isinstance(depth, int) else ''
    return kind.__name__ + (
        '' if backbone is None else f' ({type(backbone).__name__}{size})')
