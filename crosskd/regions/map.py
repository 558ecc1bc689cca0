"""Map regions: whole levels of an image, one for each anchor shape."""
from collections.abc import Sequence

import torch
from mmdet.structures import SampleList
from torch import Tensor

from ..heads import HeadFamily
from .logit_maps import LogitMaps


def map_regions(student: Sequence[Tensor], teacher: Sequence[Tensor],
                reader: HeadFamily,
                samples: SampleList) -> list[LogitMaps]:
    """Whole logit maps, with the padding masked.

    Args:
        student, teacher: per level (N, A * K, H, W) classification logits.
        reader: the head whose layout of outputs both have.
        samples: of the N images; their ``img_shape`` says where the padding
            begins.

    Returns:
        list[LogitMaps]: per level N * A maps.
    """
    regions = []
    for x, t, anchors, (stride_x, stride_y) in zip(
            student, teacher, reader.num_priors, reader.strides):
        n, channels, h, w = t.shape
        shape = (n * anchors, channels // anchors, h, w)
        mask = torch.stack([
            _inside(h, height, stride_y, reader.offset, t.device)[:, None]
            & _inside(w, width, stride_x, reader.offset, t.device)
            for height, width in (s.img_shape[:2] for s in samples)
        ])
        regions.append(
            LogitMaps(
                x.reshape(shape),
                t.reshape(shape),
                mask=mask.repeat_interleave(anchors, 0)))
    return regions


def _inside(count: int, extent: int, stride: int, offset: float,
            device: torch.device) -> Tensor:
    """Which of so many locations have their centre in the image: (count, )."""
    return (torch.arange(count, device=device) + offset) * stride < extent
