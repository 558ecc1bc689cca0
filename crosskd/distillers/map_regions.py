"""Map regions: whole levels of an image, one for each anchor shape."""
import torch

from ..pairs import PairedPass
from ..registry import REGIONS
from .logit_maps import LogitMaps


@REGIONS.register_module(name='map')
def map_regions(paired: PairedPass, prediction: str) -> list[LogitMaps]:
    """Whole logit maps, with the padding masked.

    Args:
        paired: what both detectors made of a batch; the ``img_shape`` of its
            samples says where the padding begins.
        prediction: whose logits learn.

    Returns:
        list[LogitMaps]: per level N * A maps.
    """
    regions = []
    head = paired.teacher
    anchors = head.num_priors
    for level, (ours, theirs) in zip(paired.teacher_levels,
                                     paired.class_maps(prediction)):
        stride_x, stride_y = head.strides[level]
        n, channels, h, w = theirs.shape
        shape = (n * anchors, channels // anchors, h, w)
        mask = torch.stack([
            _inside(h, height, stride_y, head.offset, theirs.device)[:, None]
            & _inside(w, width, stride_x, head.offset, theirs.device)
            for height, width in (s.img_shape[:2] for s in paired.samples)
        ])
        regions.append(
            LogitMaps(
                ours.reshape(shape),
                theirs.reshape(shape),
                mask=mask.repeat_interleave(anchors, 0)))
    return regions


def _inside(count: int, extent: int, stride: int, offset: float,
            device: torch.device) -> torch.Tensor:
    """Which of so many locations have their centre in the image: (count, )."""
    return (torch.arange(count, device=device) + offset) * stride < extent
