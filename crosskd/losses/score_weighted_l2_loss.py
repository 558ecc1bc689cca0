"""Squared error of features, weighted by the teacher's class scores."""
from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor, nn

from ..numerics.precision import at_least_float32
from ..numerics.resizing import resized
from .feature_loss import FeatureLoss

TINY = 1e-12  # less than the scores of a level can add up to


def score_weighted_l2_loss(pred: Tensor, target: Tensor,
                           scores: Tensor) -> Tensor:
    """Squared error of features where the teacher sees objects.

    ``Σ w · (target - pred)² / (C · Σ w)``, summed over images, channels and
    locations, where w is the teacher's largest class score.

    Args:
        pred: (N, C, h, w) feature map that learns; it is resized to the
            target's height and width.
        target: (N, C, H, W) feature map of the teacher; no gradient flows
            into it.
        scores: (N, 1, H, W), w.

    Returns:
        Tensor: scalar.
    """
    with torch.autocast(pred.device.type, enabled=False):
        weight = at_least_float32(scores.detach())
        errors = (at_least_float32(resized(pred, target))
                  - at_least_float32(target.detach())).square()
        return (weight * errors).sum() / (
            pred.size(1) * weight.sum().clamp(min=TINY))


@MODELS.register_module()
class ScoreWeightedL2Loss(FeatureLoss):
    """Squared error weighted by the teacher's scores, for ``loss_feat_kd``.

    Two 1×1 convolutions for each level, which train with the student, project
    the student's features first: the module of
    :func:`score_weighted_l2_loss`, as in the distillation of Ultralytics
    (2026).  The teacher needs a dense head that crosskd knows.

    Example config: ``loss_feat_kd=dict(type='ScoreWeightedL2Loss',
    loss_weight=1.0)``.

    Args:
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: ``loss_weight`` is not a number or below 0.
    """

    takes = ('level', 'scores')
    method = 'features weighted by scores'

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.projections = ModuleList()

    def build_layers(self, channels: Sequence[int]) -> None:
        """Build two 1×1 convolutions for each level."""
        self.projections = ModuleList(nn.Sequential(
            nn.Conv2d(c, c, 1), nn.ReLU(inplace=True), nn.Conv2d(c, c, 1))
            for c in channels)

    def forward(self, pred: Tensor, target: Tensor, level: int = 0, *,
                scores: Tensor) -> Tensor:
        """The loss of one level.

        Args:
            pred: (N, C, H, W) feature map that learns.
            target: (N, C, H, W) feature map of the teacher.
            level: index of the level, as in :meth:`build_layers`.
            scores: (N, 1, H, W), the teacher's largest class scores.

        Returns:
            Tensor: scalar.
        """
        return self.loss_weight * score_weighted_l2_loss(
            self.projections[level](resized(pred, target)), target, scores)
