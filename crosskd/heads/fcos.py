"""FCOS: points, distances to the four sides, centerness."""
from collections.abc import Sequence

import torch
from mmdet.models.dense_heads import FCOSHead
from mmdet.utils import reduce_mean
from torch import Tensor

from .base import HeadFamily, Predictions, Targets


class FCOSHeadFamily(HeadFamily, head_type=FCOSHead):
    """mmdet's ``FCOSHead``, and subclasses (Tian et al., arXiv 1904.01355).

    Its ``reg`` are distances from a point to the four sides, in pixels; its
    ``quality`` is centerness.
    """

    predictors = ('conv_cls', 'conv_reg', 'conv_centerness', 'scales')
    has_quality = True

    def predict(self, cls_feat: Tensor, reg_feat: Tensor,
                level: int) -> tuple[Tensor, ...]:
        head = self.head
        quality_feat = reg_feat if head.centerness_on_reg else cls_feat
        reg = head.scales[level](head.conv_reg(reg_feat)).float()
        if head.norm_on_bbox:
            reg = reg.clamp(min=0)
            if not head.training:  # as the head's own forward
                reg = reg * self.strides[level][0]
        else:
            reg = reg.exp()
        return head.conv_cls(cls_feat), reg, head.conv_centerness(quality_feat)

    def flatten(self, outputs: Sequence[Sequence[Tensor]]) -> Predictions:
        predictions = super().flatten(outputs)
        if self.head.norm_on_bbox and self.head.training:
            # in training the head leaves its distances in units of strides
            predictions.reg = [
                reg * stride[0]
                for reg, stride in zip(predictions.reg, self.strides)
            ]
        return predictions

    def encoded(self, reg: Tensor, level: int) -> Tensor:
        return reg / self.strides[level][0]

    @property
    def offset(self) -> float:
        return self.head.prior_generator.offset

    def level_of(self, boxes: Tensor) -> Tensor:
        # as FCOS assigns the middle point of a box
        reach = (boxes[:, 2:] - boxes[:, :2]).amax(1) / 2
        upper = [high for _, high in self.head.regress_ranges[:-1]]
        return torch.bucketize(reach, reach.new_tensor(upper))

    def targets(self, recorded: tuple, num_images: int) -> Targets:
        labels, bbox_targets = recorded
        positives = [self.is_positive(level) for level in labels]
        pos_targets = torch.cat(
            [boxes[pos] for boxes, pos in zip(bbox_targets, positives)])
        centerness = reduce_mean(
            self.head.centerness_target(pos_targets).sum().detach()).item()
        positives = [pos.reshape(num_images, -1) for pos in positives]
        return Targets(
            label_weights=[pos.new_ones(pos.shape).float()
                           for pos in positives],
            positives=positives,
            # where no rank has a positive, 1, as in the head's own loss_cls
            normalizer=max(centerness, 1e-6) if centerness > 0 else 1.0)

    def valid_priors(self, sizes: Sequence[Sequence[int]],
                     img_metas: Sequence[dict],
                     device: torch.device) -> list[Tensor]:
        # FCOS gives every point a weight of 1
        return [
            torch.ones(len(img_metas), h * w, device=device) for h, w in sizes
        ]
