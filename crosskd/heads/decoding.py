"""Decoding boxes of all priors of a batch at once.

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

from ..numerics.constants import constant
from .layout import Geometry

WH_RATIO_CLIP = 16 / 1000  # mmdet's default, which its coder never changes


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
