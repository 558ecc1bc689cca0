"""Computing the distillation losses that ``kd_cfg`` asks for."""
import logging
from collections.abc import Sequence

import torch
from mmdet.structures import SampleList
from mmdet.utils import reduce_mean
from mmengine.logging import print_log
from mmengine.model import ModuleDict
from torch import Tensor

from ..align import align_statistics
from ..beside import Beside
from ..heads import HeadFamily, HeadTrace, Predictions, Targets
from ..losses.sdd_loss import at_least_one_of
from ..regions import REGIONS
from .kd_cfg import BIN_LOSSES, ENCODED_LOSSES, KDConfig


class Imitation(Beside):
    """The distillation losses of a training step.

    In CrossKD (arXiv 2306.11369, section 3.2) the *cross-head predictions*
    imitate the teacher's: the student's intermediate features, aligned to the
    statistics of the teacher's and run through the rest of the teacher's
    head.  In plain prediction imitation (its equation 1) the student's own
    predictions do.  Either way they are compared location by location, or
    region by region (SDD, arXiv 2403.13512), or both.

    The losses may have parameters and buffers, which are saved beside the
    student's, see :class:`~crosskd.beside.Beside`.

    Args:
        kd: the checked ``kd_cfg``.
    """

    def __init__(self, kd: KDConfig) -> None:
        super().__init__()
        self.kd = kd
        self.losses = ModuleDict(kd.losses)
        self.sdd = ModuleDict(kd.sdd)
        self._warned: set[str] = set()

    # -- losses ------------------------------------------------------------

    def predictions(self, student: HeadFamily, s: HeadTrace,
                    teacher: HeadFamily, t: HeadTrace,
                    samples: SampleList) -> dict[str, list[Tensor]]:
        """Losses between predictions, per level.

        Args:
            student, teacher: the two heads, wrapped in their families.
            s, t: records of their passes over the same batch.
            samples: ground truth and meta information of the batch.

        Returns:
            dict: ``loss_cls_kd``, ``loss_reg_kd``, ``loss_center_kd`` and
            ``loss_sdd_<region>``, as configured, each a list of one scalar a
            level.
        """
        if self.kd.split is None:
            reader, outputs = student, s.outputs
        else:
            reader = teacher
            outputs = cross_head(s, teacher, t, self.kd.split)
        # under autocast GFL would decode and L1 losses compare in half
        with torch.autocast(outputs[0][0].device.type, enabled=False):
            losses = self._by_location(student, s, reader, outputs, teacher, t,
                                       samples)
        losses.update(
            self._by_region(outputs[0], t.outputs[0], teacher, samples))
        return losses

    def _by_location(self, student: HeadFamily, s: HeadTrace,
                     reader: HeadFamily, outputs: tuple, teacher: HeadFamily,
                     t: HeadTrace,
                     samples: SampleList) -> dict[str, list[Tensor]]:
        keys = ('loss_cls_kd', 'loss_reg_kd', 'loss_center_kd')
        if not any(key in self.losses for key in keys):
            return {}
        sizes = [x.shape[-2:] for x in t.outputs[0]]
        x, target = reader.flatten(outputs), teacher.flatten(t.outputs)
        if s.targets is None:
            raise TypeError(
                f'bbox_head: the loss of {type(student.head).__name__} did '
                'not call get_targets, whose result distillation needs')
        targets = student.targets(s.targets, len(samples))
        if not self.kd.same_priors:
            targets = _carry_over(targets, student, teacher, sizes, samples)
        weights = self._weights(target, targets)

        losses = {}
        if 'loss_cls_kd' in self.losses:
            losses['loss_cls_kd'] = self._classification(
                x, target, weights['cls'], targets)
        if 'loss_reg_kd' in self.losses:
            losses['loss_reg_kd'] = self._regression(
                reader, x, teacher, target, weights['reg'], targets, sizes)
        if 'loss_center_kd' in self.losses:
            losses['loss_center_kd'] = self._quality(x, target, targets)
        return losses

    def _by_region(self, student: Sequence[Tensor], teacher: Sequence[Tensor],
                   family: HeadFamily,
                   samples: SampleList) -> dict[str, list[Tensor]]:
        """SDD on every kind of region; all levels share one divisor."""
        losses = {}
        for kind, loss in self.sdd.items():
            regions = REGIONS[kind](student, teacher, family, samples)
            sides = [min(maps.teacher.shape[2:]) for maps in regions]
            self._warn_of_scales(kind, max(loss.scales), max(sides))
            sums = []
            for maps, side in zip(regions, sides):
                # a small level does without the grids that are finer than it
                scales = [m for m in loss.scales if m <= side]
                by_confidence = self.kd.sdd_weighting == 'confidence'
                sums.append(
                    loss.sums(
                        maps.student,
                        maps.teacher,
                        labels=maps.labels,
                        weight=maps.confidence if by_confidence else None,
                        mask=maps.mask,
                        scales=scales))
            count = at_least_one_of(reduce_mean(sum(n for _, n in sums)))
            losses[f'loss_sdd_{kind}'] = [
                loss.factor() * value / count for value, _ in sums
            ]
        return losses

    def _warn_of_scales(self, kind: str, finest: int, side: int) -> None:
        # no error, for the next batch may have larger images
        if finest > side and kind not in self._warned:
            self._warned.add(kind)
            print_log(
                f'kd_cfg.loss_sdd: scale {finest} is finer than every {kind} '
                f'region of this batch ({side} at most) and is left out',
                logger='current',
                level=logging.WARNING)

    def features(self, student: Sequence[Tensor],
                 teacher: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """``loss_feat_kd`` between FPN features, per level, if configured."""
        if 'loss_feat_kd' not in self.losses:
            return {}
        loss = self.losses['loss_feat_kd']
        return {'loss_feat_kd': list(map(loss, student, teacher))}

    def _weights(self, target: Predictions,
                 targets: Targets) -> dict[str, list[Tensor]]:
        """How much each prior counts (the paper's S(r)): (N, P) per level."""
        cls, reg = [], []
        for logits, label_weight, positive in zip(
                target.cls, targets.label_weights, targets.positives):
            confidence = logits.float().sigmoid().amax(-1)
            region = label_weight
            if self.kd.region == 'positives':
                region = label_weight * positive
            cls.append(region * confidence
                       if self.kd.region == 'confidence' else region)
            reg.append(region * confidence)
        return dict(cls=cls, reg=reg)

    def _classification(self, x: Predictions, target: Predictions,
                        weights: list[Tensor],
                        targets: Targets) -> list[Tensor]:
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
                    weights: list[Tensor], targets: Targets,
                    sizes: Sequence[Sequence[int]]) -> list[Tensor]:
        loss = self.losses['loss_reg_kd']
        if isinstance(loss, BIN_LOSSES):
            total = reduce_mean(sum(w.sum() for w in weights)).clamp(min=1e-6)
            return [
                loss(
                    _sides(a),
                    _sides(b),
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
                 targets: Targets) -> list[Tensor]:
        loss = self.losses['loss_center_kd']
        return [
            loss(
                a[pos].float(),
                b[pos].float().sigmoid(),
                avg_factor=targets.normalizer)
            for a, b, pos in zip(x.quality, target.quality, targets.positives)
        ]


def cross_head(s: HeadTrace, teacher: HeadFamily, t: HeadTrace,
               split: int) -> tuple[list[Tensor], ...]:
    """Cross-head predictions: student's features, rest of the teacher's head.

    Args:
        s, t: records of student and teacher, with intermediate features.
        teacher: the teacher's head.
        split: how many tower layers the features have been through.

    Returns:
        tuple: as the teacher's head returns, maps per branch and level.
    """
    return teacher.resume(
        list(map(align_statistics, s.held_cls, t.held_cls)),
        list(map(align_statistics, s.held_reg, t.held_reg)), split)


def _sides(reg: Tensor) -> Tensor:
    """(N, P, 4 * bins) -> (N * P * 4, bins)."""
    return reg.unflatten(-1, (4, -1)).flatten(0, -2)


def _carry_over(targets: Targets, student: HeadFamily, teacher: HeadFamily,
                sizes: Sequence[Sequence[int]],
                samples: SampleList) -> Targets:
    """Translate targets of the student's priors to the teacher's priors.

    There are no label weights for the teacher's priors, so those that are
    valid (inside the padded image) have weight 1; a location is positive
    where any of the student's priors there is.
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
