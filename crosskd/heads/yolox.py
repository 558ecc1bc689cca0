"""YOLOX: separate layers for each level, and an objectness output."""
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import YOLOXHead
from torch import Tensor

from ..numerics.precision import at_least_float32
from ..numerics.ranks import mean_over_ranks
from ..registry import HEAD_ADAPTERS
from .base import HeadAdapter
from .level_pass import LevelPass
from .records import Geometry, HeadRecord, Targets


@HEAD_ADAPTERS.register_module()
class YOLOXHeadAdapter(HeadAdapter):
    """mmdet's ``YOLOXHead``, and subclasses (Ge et al., arXiv 2107.08430).

    The head learns class scores only at positives; elsewhere they mean
    nothing.  The score of a detection is the class score times the
    objectness, so here ``cls`` holds the logits of that product, at every
    location.  ``objectness`` is a separate output.  ``reg`` holds the offset
    of the centre of a box and the logarithm of its sides, in units of the
    stride.

    Example config: ``bbox_head=dict(type='YOLOXHead')``.
    """

    head_type = YOLOXHead
    towers = dict(cls='multi_level_cls_convs', reg='multi_level_reg_convs')
    layers_by_level = True
    counts_every_prior = True
    boxes_have_area = True
    outputs = ('cls', 'reg', 'objectness')
    predictors = ('multi_level_conv_cls', 'multi_level_conv_reg',
                  'multi_level_conv_obj')
    target_methods = ('_get_targets_single', )  # called once per image
    # it assigns by the centre of a location, but boxes start at its corner
    offset = 0.5

    def branches_of(self, output: str) -> tuple[str, ...]:
        return dict(cls=('cls', 'reg')).get(output, ('reg', ))

    def named(self, outputs: Sequence[Sequence[Tensor]], training: bool
              ) -> dict[str, list[Tensor]]:
        maps = super().named(outputs, training)
        maps['cls'] = list(map(logits_of_product, maps['cls'],
                               maps['objectness']))
        return maps

    def unnamed(self, maps: Mapping[str, list[Tensor]]) -> list[list[Tensor]]:
        # cls already holds the product with it
        return super().unnamed(dict(maps, objectness=[
            torch.full_like(x, math.inf) for x in maps['objectness']]))

    def predict(self, name: str, level: LevelPass) -> Tensor:
        head = self.head
        if name == 'reg':
            return head.multi_level_conv_reg[level.index](level.branch('reg'))
        if name == 'objectness':
            return head.multi_level_conv_obj[level.index](level.branch('reg'))
        return logits_of_product(
            head.multi_level_conv_cls[level.index](level.branch('cls')),
            level.output('objectness'))

    def boxes(self, reg: Tensor, geometry: Geometry) -> Tensor:
        middle = torch.addcmul(geometry.priors, reg[..., :2], geometry.strides)
        half = reg[..., 2:].exp() * (geometry.strides / 2)
        return torch.cat([middle - half, middle + half], -1).flatten(0, 1)

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        positive, classes, *_, counts = zip(
            *seen.returned['_get_targets_single'][-num_images:])
        # positives with an IoU of 0 do not tell their class: take the first
        places, found = torch.stack(positive), torch.cat(classes).argmax(1)
        labels = torch.full_like(
            places, self.head.num_classes,
            dtype=found.dtype).masked_scatter(places, found)
        levels = labels.split([h * w for h, w in seen.sizes], 1)
        return Targets.of_all_terms(
            self.outputs, levels, None,
            mean_over_ranks(sum(counts), places.device, at_least=1))


def logits_of_product(a: Tensor, b: Tensor) -> Tensor:
    """Logits of the product of two sigmoid scores.

    For odds a and b, this is the logarithm of ab / (1 + a + b).
    """
    a, b = at_least_float32(a), at_least_float32(b)
    return a + b - F.softplus(torch.logaddexp(a, b))
