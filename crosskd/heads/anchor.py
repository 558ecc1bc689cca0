"""What the families of anchor-based heads share."""
import torch
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor

from ..numerics.constants import on_device
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
        def log_size(b: Tensor) -> Tensor:
            sides = (b[:, 2:4] - b[:, :2]).clamp(min=1e-6)
            return sides.log2().mean(1)

        anchors = [log_size(b).mean().item()  # on the host
                   for b in self.head.prior_generator.base_anchors]
        distance = log_size(boxes)[:, None] - on_device(anchors, boxes)
        return distance.abs().argmin(1)

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
