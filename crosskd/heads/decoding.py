"""Decoding the boxes of all priors of a batch at once, each with an area.

mmdet's coders copy constants to the device in every call, and the host waits
for that.  The functions here keep the constants on the device.
"""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models.task_modules.coders import (
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
)
from torch import Tensor
from torch.autograd import Function

from ..numerics.constants import constant
from .records import Geometry

WH_RATIO_CLIP = 16 / 1000  # mmdet's default, which its coder never changes
SHORTEST = 1.0  # shortest side of a box that is compared, in pixels


def decode(coder: Any, reg: Tensor, geometry: Geometry) -> Tensor:
    """Decode the regression outputs of all priors, as ``coder.decode`` does.

    Args:
        coder: a head's box coder: ``DeltaXYWHBBoxCoder``,
            ``DistancePointBBoxCoder`` or any other.
        reg: (N, P, 4), deltas or distances in pixels.
        geometry: the P priors.

    Returns:
        Tensor: (N * P, 4) boxes, xyxy in pixels.
    """
    ours = OURS.get(type(coder))
    if ours is not None:
        boxes = ours(coder, reg, geometry)
        if boxes is not None:
            return boxes.flatten(0, 1)
    priors = geometry.centers if isinstance(
        coder, DistancePointBBoxCoder) else geometry.priors
    return coder.decode(priors.repeat(len(reg), 1), reg.flatten(0, 1))


def with_area(boxes: Tensor) -> Tensor:
    """Make each side of the boxes at least a pixel long.

    It is for losses that divide by areas.  A head that predicts raw distances
    can put the right side of a box left of its left side, and on background no
    label prevents it.  The area of such a box means nothing, and some losses
    have no bound there.  So a side that is shorter than a pixel, or negative,
    becomes one pixel long around its middle.  All other sides stay unchanged.

    The gradient at a changed side goes to its two ends unchanged, and pulls
    them apart if the target is larger.

    Args:
        boxes: (n, 4), xyxy in pixels.
    """
    return _WithArea.apply(boxes)


class _WithArea(Function):

    @staticmethod
    def forward(ctx: Any, boxes: Tensor) -> Tensor:
        low, high = boxes[:, :2], boxes[:, 2:]
        lacking = (SHORTEST - (high - low)).clamp_(min=0)
        low = low.sub(lacking, alpha=0.5)
        # not high + lacking / 2, which far from 0 rounds to another length
        return torch.cat([low, high.maximum(low + SHORTEST)], 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def _deltas(coder: DeltaXYWHBBoxCoder, reg: Tensor,
            geometry: Geometry) -> Tensor | None:
    if coder.add_ctr_clamp:  # YOLOF's
        return None
    reg = reg * _like(coder.stds, reg)
    if any(coder.means):
        reg = reg + _like(coder.means, reg)
    limit = float(abs(np.log(WH_RATIO_CLIP)))
    sizes = geometry.sizes * reg[..., 2:].clamp(-limit, limit).exp()
    centers = torch.addcmul(geometry.centers, geometry.sizes, reg[..., :2])
    low = centers.sub(sizes, alpha=0.5)
    return torch.cat([low, centers.add(sizes, alpha=0.5)], -1)


def _like(values: Sequence[float], reg: Tensor) -> Tensor:
    return constant(tuple(values), reg.dtype, reg.device)


def _distances(coder: DistancePointBBoxCoder, reg: Tensor,
               geometry: Geometry) -> Tensor:
    low = geometry.centers - reg[..., :2]
    return torch.cat([low, geometry.centers + reg[..., 2:]], -1)


# only these classes; a subclass may decode differently
OURS: dict[type, Callable[[Any, Tensor, Geometry], Tensor | None]] = {
    DeltaXYWHBBoxCoder: _deltas, DistancePointBBoxCoder: _distances}
