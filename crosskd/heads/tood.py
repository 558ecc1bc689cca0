"""TOOD: one trunk for both tasks, boxes as its outputs."""
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import TOODHead
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..numerics.constants import constant
from ..numerics.last_few import FEW_SIZES, LastFew
from ..numerics.precision import at_least_float32
from ..numerics.ranks import mean_of_sums
from ..registry import HEAD_ADAPTERS
from .anchor import AnchorHeadAdapter
from .level_pass import LevelPass
from .records import Geometry, HeadRecord, Targets

CERTAIN = 1e-6  # scores are kept at least this far from 0 and 1


@HEAD_ADAPTERS.register_module()
class TOODHeadAdapter(AnchorHeadAdapter):
    """mmdet's ``TOODHead``, and subclasses (Feng et al., arXiv 2108.07755).

    Both tasks read the outputs of all layers of one trunk, so the head cannot
    continue from the features of a single layer: it can only be split before
    the trunk.  ``cls`` holds the logits of the scores that the head's forward
    returns; ``reg`` holds boxes, xyxy in units of the stride.

    Example config: ``bbox_head=dict(type='TOODHead')``.
    """

    head_type = TOODHead
    towers = dict(cls='inter_convs', reg='inter_convs')
    predictors = ('cls_decomp', 'reg_decomp', 'tood_cls', 'tood_reg',
                  'cls_prob_module', 'reg_offset_module', 'scales')
    boxes_have_area = True  # :meth:`predict` swaps corners if needed
    calls_mmcv_ops = True
    loops_over_images = True  # copies the priors for each image
    why_no_deeper = (
        '; both tasks of a TOOD head read all layers of its trunk, so it can '
        'only be split before them')

    def __init__(self, head: BaseModule) -> None:
        super().__init__(head)
        # also those of a single level
        self._geometries = LastFew(FEW_SIZES * (1 + len(self.strides)))
        self._middles: LastFew[Tensor] = LastFew(FEW_SIZES * len(self.strides))

    def layers(self, branch: str, level: int) -> Sequence[nn.Module]:
        return ()

    def named(self, outputs: Sequence[Sequence[Tensor]], training: bool
              ) -> dict[str, list[Tensor]]:
        maps = super().named(outputs, training)
        maps['cls'] = list(map(_logits, maps['cls']))
        return maps

    def unnamed(self, maps: Mapping[str, list[Tensor]]) -> list[list[Tensor]]:
        return super().unnamed(
            dict(maps, cls=[x.sigmoid() for x in maps['cls']]))

    def predict(self, name: str, level: LevelPass) -> Tensor:
        head = self.head
        # once, if the features of the two tasks are still the same
        alike = level.branch('cls') is level.branch('reg')
        x, mean = level.once(
            'trunk of both' if alike else f'trunk of {name}',
            lambda: self._trunk(level.branch(name)))
        if name == 'cls':
            return _logits_of_mean(head.tood_cls(head.cls_decomp(x, mean)),
                                   head.cls_prob_module(x))
        reg = head.tood_reg(head.reg_decomp(x, mean))
        if head.anchor_type == 'anchor_free':
            reg = reg.exp()
        boxes = self._boxes_of(
            head.scales[level.index](reg).float(), level.index)
        found = head.deform_sampling(
            boxes, head.reg_offset_module(x).contiguous())
        # as in the head's own forward
        inverted = (found[:, :2] > found[:, 2:]).any(1, keepdim=True)
        return torch.where(inverted, boxes, found)

    def _trunk(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs of all layers of the trunk, concatenated, and a mean."""
        made = []
        for layer in self.head.inter_convs:
            x = layer(x)
            made.append(x)
        x = torch.cat(made, 1)
        return x, F.adaptive_avg_pool2d(x, (1, 1))

    def _boxes_of(self, reg: Tensor, level: int) -> Tensor:
        """Boxes (N, 4, H, W), in units of the stride, before refinement."""
        n, _, h, w = reg.shape
        sizes = [(h, w) if i == level else (1, 1)
                 for i in range(len(self.strides))]
        geometry = self.geometry(sizes, [level], reg.device)
        if self.head.anchor_type == 'anchor_based':
            boxes = super().boxes(reg.flatten(2).transpose(1, 2), geometry)
            boxes = boxes.view(n, -1, 4) / geometry.strides
            return boxes.transpose(1, 2).reshape(n, 4, h, w).contiguous()
        middles = self._middles.get(
            (h, w, level, reg.device),
            lambda: (geometry.centers / geometry.strides).T.reshape(
                1, 2, h, w).repeat(1, 2, 1, 1))
        return torch.addcmul(middles, reg, constant(
            (-1, -1, 1, 1), reg.dtype, reg.device, (-1, 1, 1)))

    def boxes(self, reg: Tensor, geometry: Geometry) -> Tensor:
        return (reg * geometry.strides).flatten(0, 1)

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        _, labels, weights, _, metrics = seen.returned['get_targets'][-1]
        return Targets.of_all_terms(
            self.outputs, labels, weights, mean_of_sums(metrics, at_least=1))


def _logits(scores: Tensor) -> Tensor:
    return at_least_float32(scores).logit(CERTAIN)


def _logits_of_mean(a: Tensor, b: Tensor) -> Tensor:
    """Logits of the geometric mean of two sigmoid scores.

    Computed without the scores, whose gradient would overflow float16.
    """
    log = (F.logsigmoid(at_least_float32(a)) +
           F.logsigmoid(at_least_float32(b))) / 2
    log = log.clamp(math.log(CERTAIN), -CERTAIN)
    return log - torch.log(-torch.expm1(log))
