"""From two heads' predictions to distillation losses, as kd_cfg says."""
import difflib
from typing import Dict, List, Optional, Sequence

import torch
from mmdet.models.losses import CrossEntropyLoss, L1Loss, SmoothL1Loss
from mmdet.models.losses.iou_loss import (BoundedIoULoss, CIoULoss, DIoULoss,
                                          EIoULoss, GIoULoss, IoULoss,
                                          SIoULoss)
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ..align import align_statistics
from ..heads import HeadFamily, HeadTrace, Predictions, Targets
from ..losses import (KDQualityFocalLoss, KnowledgeDistillationKLDivLoss,
                      PKDLoss)

# which form of a regression output a loss compares
BOX_LOSSES = (IoULoss, GIoULoss, DIoULoss, CIoULoss, EIoULoss, SIoULoss,
              BoundedIoULoss)
ENCODED_LOSSES = (L1Loss, SmoothL1Loss)
BIN_LOSSES = (KnowledgeDistillationKLDivLoss, )
TYPES = dict(
    loss_cls_kd=(KDQualityFocalLoss, KnowledgeDistillationKLDivLoss),
    loss_reg_kd=(*BOX_LOSSES, *ENCODED_LOSSES, *BIN_LOSSES),
    loss_center_kd=(CrossEntropyLoss, ),
    loss_feat_kd=(PKDLoss, ))

REQUIRED_LOSSES = ('loss_cls_kd', 'loss_reg_kd')
OPTIONAL_LOSSES = ('loss_center_kd', 'loss_feat_kd')
PREDICTIONS = ('cross_head', 'student')
REGIONS = ('all', 'positives', 'confidence')
KEYS = (*REQUIRED_LOSSES, *OPTIONAL_LOSSES, 'reused_teacher_head_idx',
        'prediction', 'region')


class Imitation:
    """The losses that ``kd_cfg`` describes.

    CrossKD (arXiv 2306.11369, section 3.2) lets the *cross-head* predictions
    imitate the teacher's: the student's held features, aligned to the
    teacher's and run through the rest of the teacher's head.  Plain prediction
    imitation (its equation 1) lets the student's own predictions do so.

    ``kd_cfg`` holds:

    - ``loss_cls_kd``: config of the classification loss, on sigmoid logits.
    - ``loss_reg_kd``: config of the regression loss.  IoU losses compare
      decoded boxes; L1 and smooth L1 compare what the coder decodes;
      ``KnowledgeDistillationKLDivLoss`` compares the bins of distributions.
    - ``loss_center_kd``: optional, on the quality branch of ATSS and FCOS.
    - ``loss_feat_kd``: optional, on the features for the head.
    - ``reused_teacher_head_idx``: how many tower layers the student keeps;
      needed for cross-head predictions.
    - ``prediction``: ``'cross_head'`` (default) or ``'student'``.
    - ``region``: where classification and regression are imitated: ``'all'``
      locations alike (default), the student's ``'positives'``, or all weighted
      by the teacher's ``'confidence'``, its highest class score.  Regression
      is weighted by that confidence in any case.

    Args:
        kd_cfg: as above.
        student: family of the student's head.

    Raises:
        TypeError, ValueError: a key, a loss or the split cannot be used.
    """

    def __init__(self, kd_cfg: Optional[dict], student: HeadFamily) -> None:
        if not isinstance(kd_cfg, dict):
            raise TypeError(f'kd_cfg must be a dict, found {kd_cfg!r}')
        for key in kd_cfg:
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, 1)
                hint = f'; did you mean {near[0]!r}?' if near else ''
                raise ValueError(f'kd_cfg: unknown key {key!r}, expected '
                                 f'{", ".join(KEYS)}{hint}')
        for key in REQUIRED_LOSSES:
            if kd_cfg.get(key) is None:
                raise ValueError(f'kd_cfg: {key} is missing; expected a dict '
                                 "with the 'type' of a loss")
        self.losses: Dict[str, nn.Module] = {
            key: _build_loss(key, kd_cfg[key])
            for key in (*REQUIRED_LOSSES, *OPTIONAL_LOSSES)
            if kd_cfg.get(key) is not None
        }
        prediction = _one_of('prediction', kd_cfg, PREDICTIONS)
        self.region = _one_of('region', kd_cfg, REGIONS)
        self.split: Optional[int] = None
        if prediction == 'cross_head':
            self.split = _split('student', kd_cfg, student)

    # -- checks ------------------------------------------------------------

    def check_pair(self, student: HeadFamily, teacher: HeadFamily) -> None:
        """Whether this student can imitate this teacher; once a pair.

        Raises:
            ValueError: they differ in what must be equal.
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
        if isinstance(self.losses['loss_reg_kd'], BIN_LOSSES):
            for reader in readers:
                if reader.num_bins is None:
                    raise ValueError(
                        'kd_cfg.loss_reg_kd: '
                        'KnowledgeDistillationKLDivLoss compares '
                        f'distributions, and {reader.name} heads predict '
                        'none; use GIoULoss')
            same.append(('reg_max + 1', readers[0].num_bins,
                         teacher.num_bins))
        elif isinstance(self.losses['loss_reg_kd'], ENCODED_LOSSES):
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

    # -- losses ------------------------------------------------------------

    def predictions(self, student: HeadFamily, s: HeadTrace,
                    teacher: HeadFamily, t: HeadTrace,
                    samples: SampleList) -> Dict[str, List[Tensor]]:
        """Losses between predictions, per level.

        Args:
            student, teacher: families of the heads.
            s, t: traces of their passes over the same batch.
            samples: meta of the batch.

        Returns:
            dict: ``loss_cls_kd``, ``loss_reg_kd`` and, where configured,
            ``loss_center_kd``, each a list of one scalar a level.
        """
        sizes = [x.shape[-2:] for x in t.outputs[0]]
        target = teacher.flatten(t.outputs)
        if self.split is None:
            reader, x = student, student.flatten(s.outputs)
        else:
            reader = teacher
            x = teacher.flatten(
                teacher.resume(
                    list(map(align_statistics, s.held_cls, t.held_cls)),
                    list(map(align_statistics, s.held_reg, t.held_reg)),
                    self.split))

        if s.targets is None:
            raise TypeError(
                f'bbox_head: the loss of {type(student.head).__name__} did '
                'not call get_targets, whose result distillation needs')
        targets = student.targets(s.targets, len(samples))
        if not self.same_priors:
            targets = _carry_over(targets, student, teacher, sizes, samples)
        weights = self._weights(target, targets)

        losses = {
            'loss_cls_kd':
            self._classification(x, target, weights['cls'], targets),
            'loss_reg_kd':
            self._regression(reader, x, teacher, target, weights['reg'],
                             targets, sizes)
        }
        if 'loss_center_kd' in self.losses:
            losses['loss_center_kd'] = self._quality(x, target, targets)
        return losses

    def features(self, student: Sequence[Tensor],
                 teacher: Sequence[Tensor]) -> Dict[str, List[Tensor]]:
        """``loss_feat_kd`` between features for the head, where configured."""
        if 'loss_feat_kd' not in self.losses:
            return {}
        loss = self.losses['loss_feat_kd']
        return {'loss_feat_kd': list(map(loss, student, teacher))}

    def _weights(self, target: Predictions,
                 targets: Targets) -> Dict[str, List[Tensor]]:
        """Region weights S(r) per level, each (N, P)."""
        cls, reg = [], []
        for logits, label_weight, positive in zip(
                target.cls, targets.label_weights, targets.positives):
            confidence = logits.float().sigmoid().amax(-1)
            region = label_weight
            if self.region == 'positives':
                region = label_weight * positive
            cls.append(region *
                       confidence if self.region == 'confidence' else region)
            reg.append(region * confidence)
        return dict(cls=cls, reg=reg)

    def _classification(self, x: Predictions, target: Predictions,
                        weights: List[Tensor],
                        targets: Targets) -> List[Tensor]:
        loss = self.losses['loss_cls_kd']
        return [
            loss(
                a.flatten(0, 1),
                b.flatten(0, 1),
                w.flatten(),
                avg_factor=targets.normalizer)
            for a, b, w in zip(x.cls, target.cls, weights)
        ]

    def _regression(self, reader: HeadFamily, x: Predictions,
                    teacher: HeadFamily, target: Predictions,
                    weights: List[Tensor], targets: Targets,
                    sizes: Sequence[Sequence[int]]) -> List[Tensor]:
        loss = self.losses['loss_reg_kd']
        if isinstance(loss, BIN_LOSSES):
            total = reduce_mean(sum(w.sum() for w in weights)).clamp(min=1e-6)
            bins = teacher.num_bins
            return [
                loss(
                    a.reshape(-1, bins),
                    b.reshape(-1, bins),
                    w.flatten().repeat_interleave(4),
                    avg_factor=4.0) / total
                for a, b, w in zip(x.reg, target.reg, weights)
            ]
        if isinstance(loss, ENCODED_LOSSES):
            return [
                loss(
                    reader.encoded(a, level).reshape(-1, 4),
                    teacher.encoded(b, level).reshape(-1, 4),
                    w.reshape(-1, 1).expand(-1, 4),
                    avg_factor=targets.normalizer)
                for level, (a, b, w) in enumerate(
                    zip(x.reg, target.reg, weights))
            ]
        device = weights[0].device
        return [
            loss(
                reader.boxes(a, own, level),
                teacher.boxes(b, priors, level),
                w.flatten(),
                avg_factor=targets.normalizer)
            for level, (a, b, w, own, priors) in enumerate(
                zip(x.reg, target.reg, weights, reader.priors(sizes, device),
                    teacher.priors(sizes, device)))
        ]

    def _quality(self, x: Predictions, target: Predictions,
                 targets: Targets) -> List[Tensor]:
        loss = self.losses['loss_center_kd']
        return [
            loss(
                a[pos].float(),
                b[pos].float().sigmoid(),
                avg_factor=targets.normalizer)
            for a, b, pos in zip(x.quality, target.quality, targets.positives)
        ]


def _build_loss(key: str, cfg: dict) -> nn.Module:
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise TypeError(f"kd_cfg.{key} must be a dict with a 'type', "
                        f'found {cfg!r}')
    try:
        loss = MODELS.build(cfg)
    except (KeyError, TypeError, ValueError, AssertionError) as e:
        kind = TypeError if isinstance(e, TypeError) else ValueError
        raise kind(f'kd_cfg.{key}: {e}') from None
    if not isinstance(loss, TYPES[key]):
        known = ', '.join(t.__name__ for t in TYPES[key])
        raise TypeError(f'kd_cfg.{key}: expected {known} or a subclass, '
                        f'found {type(loss).__name__}')
    if getattr(loss, 'reduction', 'mean') != 'mean':
        raise ValueError(f"kd_cfg.{key}: reduction must be 'mean', "
                         f'found {loss.reduction!r}')
    if not getattr(loss, 'use_sigmoid', True):
        raise ValueError(f'kd_cfg.{key}: use_sigmoid must be True, found '
                         f'{loss.use_sigmoid}')
    return loss


def _one_of(key: str, kd_cfg: dict, values: Sequence[str]) -> str:
    value = kd_cfg.get(key, values[0])
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


def _carry_over(targets: Targets, student: HeadFamily, teacher: HeadFamily,
                sizes: Sequence[Sequence[int]],
                samples: SampleList) -> Targets:
    """Targets of the student's priors as targets of the teacher's.

    There are no label weights for the teacher's priors, so the valid ones
    count; a location is positive where any of the student's priors there is.
    """
    device = targets.label_weights[0].device
    metas = [sample.metainfo for sample in samples]
    positives = [
        pos.reshape(len(samples), -1, ours).any(-1).repeat_interleave(
            theirs, dim=1) for pos, ours, theirs in zip(
                targets.positives, student.num_priors, teacher.num_priors)
    ]
    return Targets(
        label_weights=teacher.valid_priors(sizes, metas, device),
        positives=positives,
        normalizer=targets.normalizer)
