"""Channel-wise distillation (CWD)."""
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor

from ..arguments import check_number, one_of
from ..numerics.precision import at_least_float32
from ..numerics.resizing import resized
from .feature_loss import FeatureLoss

NORMS = (None, 'channel')


def channel_wise_divergence(pred: Tensor, target: Tensor, tau: float = 1.0,
                            norm: str | None = None) -> Tensor:
    """KL divergence between the places where each channel is active.

    In each image, the softmax over all locations turns a channel into a
    distribution ``φ(x / τ)``.  The loss is ``τ² / (N · C) · Σ KL(φ(target) ‖
    φ(pred))``, summed over images and channels (Shu et al., ICCV 2021, arXiv
    2011.13256, equations 5 to 7; the square of τ keeps the size of the
    gradients).

    Args:
        pred: (N, C, h, w) map that learns; it is resized to the target's
            height and width.
        target: (N, C, H, W) map of the teacher; no gradient flows into it.
        tau: temperature, > 0.
        norm: ``'channel'`` to standardise both maps first, per channel over
            batch and space (as batch norm without parameters).

    Returns:
        Tensor: scalar.
    """
    with torch.autocast(pred.device.type, enabled=False):
        ours = _log_softmax(resized(pred, target), tau, norm)
        theirs = _log_softmax(target.detach(), tau, norm)
        total = F.kl_div(ours, theirs, reduction='sum', log_target=True)
        return total * (tau**2 / (ours.size(0) * ours.size(1)))


def _log_softmax(x: Tensor, tau: float, norm: str | None) -> Tensor:
    """(N, C, H * W), in float32 at least."""
    x = at_least_float32(x)
    # the softmax of a single location is always 1
    if norm == 'channel' and x.numel() > x.size(1):
        x = F.batch_norm(x, None, None, training=True)
    return F.log_softmax(x.flatten(2) / tau if tau != 1 else x.flatten(2), -1)


@MODELS.register_module()
class ChannelWiseDivergence(FeatureLoss):
    """Channel-wise distillation (CWD), for ``loss_feat_kd``.

    The module of :func:`channel_wise_divergence` (Shu et al., ICCV 2021, arXiv
    2011.13256).  For FPN features the paper's weight is 10, for classification
    scores 5; RTMDet's recipe has ``norm='channel'`` and a weight of 1.

    Example config: ``loss_feat_kd=dict(type='ChannelWiseDivergence',
    loss_weight=10.0)``.

    Args:
        tau: temperature, > 0.
        norm: ``'channel'`` to standardise both maps first, per channel.
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    method = 'CWD'

    def __init__(self, tau: float = 1.0, norm: str | None = None,
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        name = type(self).__name__
        self.tau = check_number(name, 'tau', tau, 0, inclusive=False)
        self.norm = one_of(f'{name}: norm', norm, NORMS)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of one level.

        Args:
            pred: (N, C, H, W) map that learns.
            target: (N, C, H, W) map of the teacher.

        Returns:
            Tensor: scalar.
        """
        return self.loss_weight * channel_wise_divergence(
            pred, target, self.tau, self.norm)
