"""Giving two feature maps the same size."""
from torch import Tensor
from torch.nn.functional import interpolate


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """(N, C, H, W) maps in the height and width of others (bilinear).

    Args:
        maps: (N, C, h, w).
        like: (N, any, H, W); only its size is used.
    """
    if maps.shape[2:] == like.shape[2:]:
        return maps
    return interpolate(maps, like.shape[2:], mode='bilinear',
                       align_corners=False)
