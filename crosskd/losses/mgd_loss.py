"""Masked generative distillation (MGD)."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor, nn

from ..arguments import check_number
from ..errors import ConfigValueError
from ..numerics.precision import at_least_float32
from ..numerics.resizing import resized
from .feature_loss import FeatureLoss


def mgd_loss(pred: Tensor, target: Tensor, mask: Tensor,
             generator: nn.Module) -> Tensor:
    """Squared error of features that are generated from masked features.

    ``1 / N · Σ (target - generator(mask · pred))²``, summed over images,
    channels and locations (Yang et al., ECCV 2022, arXiv 2205.01529,
    equations 4 and 5).

    Args:
        pred: (N, C, h, w) feature map that learns; it is resized to the
            target's height and width.
        target: (N, C, H, W) feature map of the teacher; no gradient flows
            into it.
        mask: (N, 1, H, W), 0 where the student's features are hidden and 1
            elsewhere.
        generator: generates features from (N, C, H, W), in the same shape.

    Returns:
        Tensor: scalar.
    """
    made = generator(resized(pred, target) * mask)
    with torch.autocast(pred.device.type, enabled=False):
        return F.mse_loss(at_least_float32(made),
                          at_least_float32(target.detach()),
                          reduction='sum') / len(made)


@MODELS.register_module()
class MGDLoss(FeatureLoss):
    """Masked generative distillation (MGD), for ``loss_feat_kd``.

    Random locations of the student's features are hidden, and two
    convolutions for each level, which train with the student, generate the
    teacher's features from the rest: the module of :func:`mgd_loss` (Yang et
    al., ECCV 2022, arXiv 2205.01529).  The paper's weight is 2e-5 with
    ``mask_ratio=0.65`` for one-stage detectors, and 5e-7 with
    ``mask_ratio=0.45`` for two-stage detectors.

    Example config: ``loss_feat_kd=dict(type='MGDLoss', loss_weight=2e-5,
    mask_ratio=0.65)``.

    Args:
        mask_ratio: probability with which a location is hidden, from 0 to 1.
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    takes = ('level', )
    method = 'MGD'

    def __init__(self, mask_ratio: float = 0.65,
                 loss_weight: float = 2e-5) -> None:
        super().__init__(loss_weight)
        name = type(self).__name__
        if check_number(name, 'mask_ratio', mask_ratio, 0) > 1:
            raise ConfigValueError(
                f'{name}: mask_ratio must be at most 1, found {mask_ratio!r}')
        self.mask_ratio = mask_ratio
        self.generators = ModuleList()

    def build_layers(self, channels: Sequence[int]) -> None:
        """Build two 3×3 convolutions for each level."""
        self.generators = ModuleList(nn.Sequential(
            nn.Conv2d(c, c, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(c, c, 3, padding=1)) for c in channels)

    def forward(self, pred: Tensor, target: Tensor, level: int = 0) -> Tensor:
        """The loss of one level.

        Args:
            pred: (N, C, H, W) feature map that learns.
            target: (N, C, H, W) feature map of the teacher.
            level: index of the level, as in :meth:`build_layers`.

        Returns:
            Tensor: scalar.
        """
        mask = torch.rand(len(target), 1, *target.shape[2:],
                          device=target.device) >= self.mask_ratio
        return self.loss_weight * mgd_loss(pred, target, mask,
                                           self.generators[level])
