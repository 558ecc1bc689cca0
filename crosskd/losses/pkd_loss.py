"""Feature imitation by Pearson correlation (PKD)."""
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor

from ..numerics.resizing import resized
from ..numerics.statistics import standardize
from .feature_loss import FeatureLoss


def pkd_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Half the mean squared error of standardised feature maps.

    Both maps are standardised per channel over batch and space.  So the loss
    depends only on their Pearson correlation (Cao et al., arXiv 2207.02039,
    equations 3 and 5).

    Args:
        pred: (N, C, h, w) feature map that learns; it is resized to the
            target's height and width.
        target: (N, C, H, W) feature map of the teacher; no gradient flows
            into it.

    Returns:
        Tensor: scalar.
    """
    ours, = standardize([resized(pred, target)])
    theirs, = standardize([target.detach()])
    return F.mse_loss(ours, theirs) / 2


@MODELS.register_module()
class PKDLoss(FeatureLoss):
    """Feature imitation by Pearson correlation, for ``loss_feat_kd``.

    The module of :func:`pkd_loss` (PKD, Cao et al., NeurIPS 2022, arXiv
    2207.02039).

    Example config: ``loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0)``.

    Args:
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: ``loss_weight`` is not a number or below 0.
    """

    method = 'PKD'

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of one FPN level.

        Args:
            pred: (N, C, H, W) feature map that learns.
            target: (N, C, H, W) feature map of the teacher.

        Returns:
            Tensor: scalar.
        """
        return self.loss_weight * pkd_loss(pred, target)
