"""FCOS: points, distances to the four sides, centerness."""
from collections.abc import Sequence

import torch
from mmdet.models.dense_heads import FCOSHead
from mmdet.utils import reduce_mean
from torch import Tensor

from ..numerics.constants import constant
from ..registry import HEAD_ADAPTERS
from .base import HeadAdapter
from .level_pass import LevelPass
from .records import Geometry, HeadRecord, Targets


@HEAD_ADAPTERS.register_module()
class FCOSHeadAdapter(HeadAdapter):
    """mmdet's ``FCOSHead``, and subclasses (Tian et al., arXiv 1904.01355).

    ``reg`` holds the distances from a point to the four sides, in pixels;
    ``quality`` is centerness.

    Example config: ``bbox_head=dict(type='FCOSHead')``.
    """

    head_type = FCOSHead
    predicts_distances = True
    counts_every_prior = True
    outputs = ('cls', 'reg', 'quality')
    predictors = ('conv_cls', 'conv_reg', 'conv_centerness', 'scales')
    target_methods = ('get_targets', 'centerness_target')

    @property
    def boxes_have_area(self) -> bool:  # type: ignore[override]
        return not self.head.norm_on_bbox  # with it, distances may be 0

    def predict(self, name: str, level: LevelPass) -> Tensor:
        head = self.head
        if name == 'cls':
            return head.conv_cls(level.branch('cls'))
        if name == 'quality':
            return head.conv_centerness(
                level.branch('reg' if head.centerness_on_reg else 'cls'))
        reg = head.scales[level.index](
            head.conv_reg(level.branch('reg'))).float()
        if not head.norm_on_bbox:
            return reg.exp()
        # as in the head's own forward
        return reg.clamp(min=0) * self.strides[level.index][0]

    def flatten(self, name: str, maps: Sequence[Tensor], geometry: Geometry,
                training: bool) -> Tensor:
        flat = super().flatten(name, maps, geometry, training)
        if name == 'reg' and self.head.norm_on_bbox and training:
            # in training the head returns distances in units of strides
            flat = flat * geometry.strides
        return flat

    def level_of(self, boxes: Tensor) -> Tensor:
        # as FCOS does for the centre of a box
        reach = (boxes[:, 2:] - boxes[:, :2]).abs().amax(1) / 2
        upper = tuple(high for _, high in self.head.regress_ranges[:-1])
        return torch.bucketize(
            reach, constant(upper, reach.dtype, reach.device))

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        labels, _ = seen.returned['get_targets'][-1]
        centerness = reduce_mean(
            seen.returned['centerness_target'][-1].sum().detach())
        # 1 if no process has a positive, as in the head's own loss_cls
        normalizer = torch.where(
            centerness > 0, centerness.clamp(min=1e-6), 1)
        return Targets.of_all_terms(
            self.outputs, [level.reshape(num_images, -1) for level in labels],
            None, normalizer)
