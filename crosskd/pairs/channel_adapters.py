"""Layers that convert a student's features to the teacher's channels."""
from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ChannelAdapter(nn.Module):
    """A 1×1 convolution from the student's channels to the teacher's.

    FitNets (Romero et al., arXiv 1412.6550, section 2.2) and later work use
    this layer to compare features with different numbers of channels.  Its
    bias only matters for losses that compare features directly; CrossKD and
    PKD standardise them first.

    Example config: ``kd_cfg=dict(adapter=dict(type='ChannelAdapter'))``, the
    default.  To use another class, register it in mmdet's ``MODELS``, with
    the same two arguments; if it is a ``BaseModule``, its ``init_weights`` is
    called when it is built.

    Args:
        in_channels: channels of the student's features.
        out_channels: channels of the teacher's features.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Adapt (N, C, H, W) features of one level."""
        return self.conv(features)
