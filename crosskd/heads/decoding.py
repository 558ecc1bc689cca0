"""Decoding boxes of all priors of a batch at once, each with an area.

mmdet's coders send their constants to the device in every call, and its host
waits for it; these keep them there.
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
SHORTEST = 1.0  # side of a box that is compared, in pixels


def decode(coder: Any, reg: Tensor, geometry: Geometry) -> Tensor:
    """What ``coder.decode`` makes of the regression outputs of all priors.

    Args:
        coder: of a head, ``DeltaXYWHBBoxCoder``, ``DistancePointBBoxCoder`` or
            any other.
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
    """Boxes whose sides are a pixel at least, for losses that divide by areas.

    A head that predicts distances as they are can place the right side of a
    box left of its left side, and no label forbids it on the background.
    Areas and hulls of such a box mean nothing, and some losses have no bound
    there.  A side that is shorter than a pixel, or inside out, becomes one
    pixel about its middle; all other sides are left as they are.

    The gradient of a side that was changed reaches its two ends as if they
    were those of the pixel, which pulls them apart where the target is larger.

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
        # not by the same step: far out it would be rounded otherwise
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


# exactly these; a subclass decodes in its own way
OURS: dict[type, Callable[[Any, Tensor, Geometry], Tensor | None]] = {
    DeltaXYWHBBoxCoder: _deltas, DistancePointBBoxCoder: _distances}
