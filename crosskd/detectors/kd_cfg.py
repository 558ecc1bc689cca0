"""Reading and checking ``kd_cfg``."""
import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from mmdet.models.losses import CrossEntropyLoss, L1Loss, SmoothL1Loss
from mmdet.models.losses.iou_loss import (
    DIoULoss,
    EIoULoss,
    GIoULoss,
    IoULoss,
)
from mmdet.registry import MODELS
from torch import nn

from ..heads import HeadFamily
from ..losses import (
    KDQualityFocalLoss,
    KnowledgeDistillationKLDivLoss,
    PKDLoss,
    SDDLoss,
)
from ..losses.checks import check_number
from ..losses.sdd_bases import SOFTMAX_BASES
from ..regions import POINTS
from ..regions import REGIONS as SDD_REGIONS
from ..registry import SCOPE

# which form of a regression output a loss compares
# (mmdet's CIoU and SIoU are NaN for boxes that are equal or without area,
# which students do predict, and its bounded IoU takes no weight a box)
BOX_LOSSES = (IoULoss, GIoULoss, DIoULoss, EIoULoss)
ENCODED_LOSSES = (L1Loss, SmoothL1Loss)
BIN_LOSSES = (KnowledgeDistillationKLDivLoss, )
TYPES: dict[str, tuple[type[nn.Module], ...]] = dict(
    loss_cls_kd=(KDQualityFocalLoss, KnowledgeDistillationKLDivLoss),
    loss_reg_kd=(*BOX_LOSSES, *ENCODED_LOSSES, *BIN_LOSSES),
    loss_center_kd=(CrossEntropyLoss, ),
    loss_sdd=(SDDLoss, ),
    loss_feat_kd=(PKDLoss, ))

Loss = TypeVar('Loss', bound=nn.Module)

PREDICTIONS = ('cross_head', 'student')
PLACES = ('all', 'positives', 'confidence')
SDD_WEIGHTINGS = ('all', 'confidence')
SDD_KEYS = ('sdd_regions', 'sdd_weighting')
KEYS = (*TYPES, 'reused_teacher_head_idx', 'prediction', 'region', *SDD_KEYS)


class KDConfig:
    """The checked ``kd_cfg`` of a detector.

    Its keys:

    - ``loss_cls_kd``: config of the classification loss, on sigmoid logits.
    - ``loss_reg_kd``: config of the regression loss.  IoU losses compare
      decoded boxes; L1 and smooth L1 compare encoded ones (deltas or
      distances, before the coder decodes them);
      ``KnowledgeDistillationKLDivLoss`` compares the bins of distributions.
    - ``loss_center_kd``: config of the loss on the quality branch (centerness)
      of ATSS and FCOS.
    - ``loss_sdd``: config of an ``SDDLoss`` on classification logits.
    - ``loss_feat_kd``: config of the loss between FPN features.
    - ``prediction``: whose predictions imitate the teacher's:
      ``'cross_head'`` or the ``'student'``'s own.
    - ``reused_teacher_head_idx``: how many tower layers the student keeps;
      needed for cross-head predictions.
    - ``region``: the locations of ``loss_cls_kd`` and ``loss_reg_kd``:
      ``'all'`` alike (default), the student's ``'positives'``, or all weighted
      by the teacher's ``'confidence'``, its highest class score.  Regression
      is weighted by that confidence in any case.
    - ``sdd_regions``: the regions of ``loss_sdd``, each with the arguments
      that are different there: ``dict(map=dict(loss_weight=2.0),
      box=dict())``; None for a region leaves it out.
    - ``sdd_weighting``: whether the cells of these regions count ``'all'``
      alike or by the teacher's ``'confidence'``.

    Args:
        kd_cfg: a dict with these keys.
        student: the student's head.
        required: keys of losses that must be there.
        prediction: default of ``prediction``.

    Raises:
        TypeError, ValueError: a key, a loss or the split cannot be used; the
            message names the key, what was found and what was expected.
    """

    def __init__(self, kd_cfg: dict | None, student: HeadFamily,
                 required: Sequence[str], prediction: str) -> None:
        if not isinstance(kd_cfg, dict):
            raise TypeError(f'kd_cfg must be a dict, found {kd_cfg!r}')
        for key in kd_cfg:
            _check_known('kd_cfg', key, KEYS)
        for key in required:
            if kd_cfg.get(key) is None:
                raise ValueError(f'kd_cfg: {key} is missing; expected a dict '
                                 "with the 'type' of a loss")
        self.losses: dict[str, nn.Module] = {
            key: _build_loss(key, kd_cfg[key], TYPES[key])
            for key in TYPES
            if key != 'loss_sdd' and kd_cfg.get(key) is not None
        }
        self.region = _one_of('region', kd_cfg, PLACES, 'all')
        self.split: int | None = None
        if _one_of('prediction', kd_cfg, PREDICTIONS,
                   prediction) == 'cross_head':
            self.split = _split('student', kd_cfg, student)
        self.sdd: dict[str, SDDLoss] = _sdd_losses(kd_cfg, student)
        self.sdd_weighting = _one_of('sdd_weighting', kd_cfg, SDD_WEIGHTINGS,
                                     'all')

    # -- checks ------------------------------------------------------------

    def check_pair(self, student: HeadFamily, teacher: HeadFamily) -> None:
        """Check that this student can imitate this teacher.

        Called once, when the teacher has been read.

        Args:
            student, teacher: their heads.

        Raises:
            ValueError: they differ in something that must be equal.
        """
        same = [('strides', student.strides, teacher.strides),
                ('num_classes', student.head.cls_out_channels,
                 teacher.head.cls_out_channels)]
        if self.split is None:
            same.append(('priors per location', student.num_priors,
                         teacher.num_priors))
        else:
            _check_split('teacher', self.split, teacher)
            same.append((f'channels after {self.split} tower layers',
                         student.channels(self.split),
                         teacher.channels(self.split)))
        if 'loss_feat_kd' in self.losses:
            same.append(('bbox_head.in_channels', student.head.in_channels,
                         teacher.head.in_channels))
        # whose regression outputs are read
        readers = [teacher] if self.split is not None else [student, teacher]
        regression = self.losses.get('loss_reg_kd')
        if isinstance(regression, BIN_LOSSES):
            for reader in readers:
                if reader.num_bins is None:
                    raise ValueError(
                        'kd_cfg.loss_reg_kd: '
                        'KnowledgeDistillationKLDivLoss compares '
                        f'distributions, and {reader.name} heads predict '
                        'none; use GIoULoss')
            same.append(('reg_max + 1', readers[0].num_bins,
                         teacher.num_bins))
        elif isinstance(regression, ENCODED_LOSSES):
            same.append(('coder of kd_cfg.loss_reg_kd', readers[0].name,
                         teacher.name))
        for what, ours, theirs in same:
            if ours != theirs:
                raise ValueError(
                    f'teacher_config does not fit the student: {what} must be '
                    f'equal, found {ours} (student) and {theirs} (teacher)')
        if 'loss_center_kd' in self.losses:
            for reader in readers:
                if not reader.has_quality:
                    raise ValueError(
                        f'kd_cfg.loss_center_kd: {reader.name} heads have no '
                        'quality branch; remove it')
        self.same_priors = student.has_priors_of(teacher)


def _check_known(owner: str, key: str, known: Iterable[str]) -> None:
    if key not in known:
        near = difflib.get_close_matches(str(key), known, 1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise ValueError(f'{owner}: unknown key {key!r}, expected '
                         f'{", ".join(known)}{hint}')


def _sdd_losses(kd_cfg: dict, student: HeadFamily) -> dict[str, SDDLoss]:
    """The loss of every kind of region."""
    common, regions = kd_cfg.get('loss_sdd'), kd_cfg.get('sdd_regions')
    if common is None:
        for key in SDD_KEYS:
            if kd_cfg.get(key) is not None:
                raise ValueError(f'kd_cfg.{key} needs kd_cfg.loss_sdd, which '
                                 'is missing')
        return {}
    if regions is None:
        regions = dict(map=dict(), box=dict())
    if not isinstance(regions, dict) or all(
            changes is None for changes in regions.values()):
        raise TypeError('kd_cfg.sdd_regions must be a dict such as '
                        f'dict(map=dict(), box=dict()), found {regions!r}')
    losses: dict[str, SDDLoss] = {}
    for kind, changes in regions.items():
        _check_known('kd_cfg.sdd_regions', kind, SDD_REGIONS)
        if changes is None:  # how a config drops what its base has
            continue
        if not isinstance(changes, dict):
            raise TypeError(
                f'kd_cfg.sdd_regions.{kind} must be a dict of what differs '
                f'from loss_sdd there, found {changes!r}')
        key, cfg = 'loss_sdd', common
        if changes and isinstance(common, dict):
            key, cfg = f'sdd_regions.{kind}', {**common, **changes}
        loss = losses[kind] = _build_loss(key, cfg, (SDDLoss, ))
        if kind == 'box' and max(loss.scales) > POINTS:
            raise ValueError(
                f'kd_cfg.{key}: scales: {max(loss.scales)} does not fit box '
                f'regions, which are sampled at {POINTS}×{POINTS} points; set '
                'sdd_regions.box.scales, or sdd_regions.box=None')
        if loss.base in SOFTMAX_BASES and student.head.cls_out_channels < 2:
            raise ValueError(
                f'kd_cfg.{key}: base {loss.base!r} compares classes with each '
                "other, and the head has one; use 'bernoulli' or 'qfl'")
    return losses


def _build_loss(key: str, cfg: dict, types: tuple[type[Loss], ...]) -> Loss:
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise TypeError(f"kd_cfg.{key} must be a dict with a 'type', "
                        f'found {cfg!r}')
    with MODELS.switch_scope_and_registry(None) as registry:
        known = not isinstance(cfg['type'], str) or registry.get(cfg['type'])
    if not known:  # our names and mmdet's need no scope here
        cfg = {'_scope_': SCOPE, **cfg}
    try:
        loss = MODELS.build(cfg)
    except (KeyError, TypeError, ValueError, AssertionError) as e:
        kind = TypeError if isinstance(e, TypeError) else ValueError
        raise kind(f'kd_cfg.{key}: {e}') from None
    if not isinstance(loss, types):
        known = ', '.join(t.__name__ for t in types)
        raise TypeError(f'kd_cfg.{key}: expected {known} or a subclass, '
                        f'found {type(loss).__name__}')
    # mmdet's own losses take any weight
    check_number(f'kd_cfg.{key}: {type(loss).__name__}', 'loss_weight',
                 getattr(loss, 'loss_weight', 1.0), 0)
    if getattr(loss, 'reduction', 'mean') != 'mean':
        raise ValueError(f"kd_cfg.{key}: reduction must be 'mean', "
                         f'found {loss.reduction!r}')
    if not getattr(loss, 'use_sigmoid', True):
        raise ValueError(f'kd_cfg.{key}: use_sigmoid must be True, found '
                         f'{loss.use_sigmoid}')
    return loss


def _one_of(key: str, kd_cfg: dict, values: Sequence[str],
            default: str) -> str:
    value = kd_cfg.get(key)
    if value is None:
        return default
    if value not in values:
        raise ValueError(f'kd_cfg.{key} must be one of {values}, '
                         f'found {value!r}')
    return value


def _split(whose: str, kd_cfg: dict, head: HeadFamily) -> int:
    key = 'reused_teacher_head_idx'
    split = kd_cfg.get(key)
    if isinstance(split, bool) or not isinstance(split, int):
        raise TypeError(f'kd_cfg.{key} must be an integer (how many tower '
                        f'layers the student keeps), found {split!r}')
    _check_split(whose, split, head)
    return split


def _check_split(whose: str, split: int, head: HeadFamily) -> None:
    if not 0 <= split <= head.depth:
        raise ValueError(
            'kd_cfg.reused_teacher_head_idx must be between 0 and the number '
            f"of tower layers ({head.depth} in the {whose}'s head), "
            f'found {split}')
