"""Feature imitation by cosine similarity."""
import torch
from mmdet.registry import MODELS
from torch import Tensor

from ..numerics.precision import at_least_float32
from ..numerics.resizing import resized
from .feature_loss import FeatureLoss

SHORTEST = 1e-6  # length of a vector that has a direction


def cosine_feature_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``1 - cos(pred, target)`` over channels, averaged over locations.

    Only the directions of the two vectors at a location count, not their
    lengths.  If one of the vectors is (almost) zero, their cosine counts as 0
    and has no gradient.

    Args:
        pred: (N, C, h, w) feature map that learns; it is resized to the
            target's height and width.
        target: (N, C, H, W) feature map of the teacher; no gradient flows
            into it.

    Returns:
        Tensor: scalar, between 0 and 2.
    """
    # autocast would add up products in half precision
    with torch.autocast(pred.device.type, enabled=False):
        ours, theirs = (
            at_least_float32(x)
            for x in (resized(pred, target), target.detach()))
        lengths = [torch.linalg.vector_norm(x, dim=1) for x in (ours, theirs)]
        cosine = (ours * theirs).sum(1) / (lengths[0] * lengths[1]).clamp(
            min=SHORTEST**2)
        # the slope at a vector of zeros is infinite
        long = torch.minimum(*lengths) > SHORTEST
        return 1 - torch.where(long, cosine, 0).mean()


@MODELS.register_module()
class CosineFeatureLoss(FeatureLoss):
    """Feature imitation by cosine similarity, for ``loss_feat_kd``.

    The module of :func:`cosine_feature_loss`.  It suits teachers that are no
    detectors, whose features have other lengths than a detector's.

    Example config: ``loss_feat_kd=dict(type='CosineFeatureLoss',
    loss_weight=1.0)``.

    Args:
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: ``loss_weight`` is not a number or below 0.
    """

    method = 'cosine of features'

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of one level.

        Args:
            pred: (N, C, H, W) feature map that learns.
            target: (N, C, H, W) feature map of the teacher.

        Returns:
            Tensor: scalar.
        """
        return self.loss_weight * cosine_feature_loss(pred, target)
