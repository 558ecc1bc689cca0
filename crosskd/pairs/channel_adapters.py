"""Layers between a student's features and a teacher's of another width."""
from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ChannelAdapter(nn.Module):
    """A 1×1 convolution from the student's channels to the teacher's.

    Its bias counts where a loss compares features as they are; CrossKD and PKD
    compare them standardised.  The layer with which FitNets (Romero et al.,
    arXiv 1412.6550, section 2.2) and later work compare features of different
    widths.

    Example config: ``kd_cfg=dict(adapter=dict(type='ChannelAdapter'))``, which
    is the default.  Another class is registered in mmdet's ``MODELS``
    and takes the same two arguments; where it is a ``BaseModule``, its
    ``init_weights`` is called when it is built.

    Args:
        in_channels: of the student's features.
        out_channels: of the teacher's.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Adapt (N, C, H, W) features of one level."""
        return self.conv(features)
