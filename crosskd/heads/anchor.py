"""What the families of anchor-based heads share."""
from functools import cached_property

import torch
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor

from ..numerics.constants import constant
from .base import HeadAdapter
from .layout import HeadRecord, Targets


class AnchorHeadAdapter(HeadAdapter):
    """Heads whose ``get_targets`` returns labels, weights and an avg_factor.

    RetinaNet, GFL and ATSS; see :class:`~crosskd.heads.HeadAdapter`.
    """

    #: where ``labels, label_weights`` start in what ``get_targets`` returns
    first_target = 0
    #: whether the head averages its normaliser over ranks
    reduces_normalizer = False

    @property
    def offset(self) -> float:
        return self.head.prior_generator.center_offset

    def level_of(self, boxes: Tensor) -> Tensor:
        # the level whose middle anchor is nearest in size, octave by octave
        middle = constant(self._log_sizes, boxes.dtype, boxes.device)
        return (_log_size(boxes)[:, None] - middle).abs().argmin(1)

    @cached_property
    def _log_sizes(self) -> tuple[float, ...]:
        """Of the middle anchor of each level."""
        return tuple(float(_log_size(b).mean())
                     for b in self.head.prior_generator.base_anchors)

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        result = seen.returned['get_targets'][-1]
        labels, weights = result[self.first_target:self.first_target + 2]
        normalizer = result[self.first_target + 4]
        if self.reduces_normalizer and get_world_size() > 1:
            normalizer = reduce_mean(
                torch.tensor(
                    normalizer, dtype=torch.float,
                    device=labels[0].device))
        return Targets(
            labels=list(labels),
            weights=dict.fromkeys(self.outputs, weights),
            normalizers=dict.fromkeys(self.outputs, normalizer))


def _log_size(boxes: Tensor) -> Tensor:
    sides = (boxes[:, 2:4] - boxes[:, :2]).clamp(min=1e-6)
    return sides.log2().mean(1)
