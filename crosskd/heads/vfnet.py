"""VFNet: boxes, refined with features sampled at their sides."""
from functools import cached_property, partial

import torch
from mmdet.models.dense_heads import VFNetHead
from mmdet.utils import reduce_mean
from torch import Tensor

from ..numerics.constants import constant
from ..registry import HEAD_ADAPTERS
from .anchor import sizes_of_anchors
from .base import HeadAdapter
from .level_pass import LevelPass
from .records import HeadRecord, Targets


@HEAD_ADAPTERS.register_module()
class VFNetHeadAdapter(HeadAdapter):
    """mmdet's ``VFNetHead``, and subclasses (Zhang et al., arXiv 2008.13367).

    ``reg`` holds the refined distances from a point to the four sides, in
    pixels, and ``cls`` the scores of these boxes.  Both are made from features
    that a deformable convolution samples at the sides of the ``initial`` box.
    The head returns that box only in training.

    Example config: ``bbox_head=dict(type='VFNetHead')``.
    """

    head_type = VFNetHead
    predicts_distances = True
    boxes_have_area = True
    predictors = ('vfnet_reg_conv', 'vfnet_reg', 'scales',
                  'vfnet_reg_refine_dconv', 'vfnet_reg_refine',
                  'scales_refine', 'vfnet_cls_dconv', 'vfnet_cls')

    def forward_outputs(self, training: bool) -> tuple[str, ...]:
        return ('cls', 'initial', 'reg') if training else self.outputs

    def output_channels(self, name: str) -> int:
        return super().output_channels('cls' if name == 'cls' else 'reg')

    def branches_of(self, output: str) -> tuple[str, ...]:
        return dict(cls=('cls', 'reg')).get(output, ('reg', ))

    def predict(self, name: str, level: LevelPass) -> Tensor:
        head = self.head
        initial, sides = level.once(
            'initial boxes', lambda: self._initial(level))
        if name == 'cls':
            return head.vfnet_cls(head.relu(head.vfnet_cls_dconv(
                level.branch('cls'), sides)))
        refined = head.vfnet_reg_refine(head.relu(head.vfnet_reg_refine_dconv(
            level.branch('reg'), sides)))
        # as in the head's own forward
        return head.scales_refine[level.index](refined).float().exp() * (
            initial.detach())

    def _initial(self, level: LevelPass) -> tuple[Tensor, Tensor]:
        """The initial boxes, and where the deformable convolutions sample."""
        head, features = self.head, level.branch('reg')
        reg = head.vfnet_reg(head.vfnet_reg_conv(features))
        unit = (head.reg_denoms if head.bbox_norm_type == 'reg_denom' else
                head.strides)[level.index]
        boxes = head.scales[level.index](reg).float().exp() * unit
        return boxes, self._sides(boxes, level.index).to(features.dtype)

    def _sides(self, boxes: Tensor, level: int) -> Tensor:
        """Where the deformable convolutions sample.

        Same as the head's own ``star_dcn_offset``, but in three kernels and
        without a copy to the device.
        """
        at, sides, signs = self._star
        stride = self.head.strides[level]
        like = boxes.dtype, boxes.device, (-1, 1, 1)
        boxes = boxes.detach().lerp(boxes, self.head.gradient_mul)
        return torch.addcmul(
            constant(at, *like),
            boxes.index_select(1, constant(sides, torch.long, boxes.device)),
            constant(tuple(sign / stride for sign in signs), *like))

    @cached_property
    def _star(self) -> tuple[tuple, tuple, tuple]:
        """For each offset: its value without a box, and what each side adds.
        """
        star = partial(self.head.star_dcn_offset, gradient_mul=1.0, stride=1)
        with torch.device('cpu'), torch.no_grad():
            none = star(torch.zeros(1, 4, 1, 1))
            sides = star(torch.eye(4).view(4, 4, 1, 1)) - none
        sides = sides.view(4, -1)
        return (tuple(none.flatten().tolist()),
                tuple(sides.abs().argmax(0).tolist()),
                tuple(sides.sum(0).tolist()))

    @property
    def counts_every_prior(self) -> bool:  # type: ignore[override]
        return self.head.use_vfl or not self.head.use_atss

    @cached_property
    def log_sizes(self) -> tuple[float, ...]:
        if not self.head.use_atss:
            return super().log_sizes
        return sizes_of_anchors(self.head.atss_prior_generator)

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        labels, weights, *_ = seen.returned['get_targets'][-1]
        levels = [level.view(num_images, -1) for level in labels]
        # the varifocal loss has no weights
        if self.head.use_vfl or weights is None:
            by_level = None
        else:
            by_level = [x.view(num_images, -1) for x in weights.split(
                [len(level) for level in labels])]
        count = self.is_class(torch.cat(labels)).sum().float()
        if self.head.sync_num_pos:
            count = reduce_mean(count)
        return Targets.of_all_terms(
            self.outputs, levels, by_level, count.clamp(min=1))
