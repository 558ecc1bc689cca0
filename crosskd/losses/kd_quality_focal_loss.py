"""Quality focal loss with a teacher's scores as soft targets."""
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..arguments import check_number
from ..numerics.precision import at_least_float32


def kd_quality_focal_loss(pred: Tensor,
                          target: Tensor,
                          beta: float = 1.0) -> Tensor:
    """Quality focal loss between two sets of sigmoid logits.

    ``Σ_c |σ(x_c) − σ(t_c)|^β · BCE(σ(x_c), σ(t_c))``

    Quality focal loss: Li et al., arXiv 2006.04388, equation 2; as a
    distillation loss: Wang et al., arXiv 2306.11369, section 3.3.

    Args:
        pred: (n, C) logits that learn.
        target: (n, C) logits of the teacher; no gradient flows into them.
        beta: exponent of the modulating factor.

    Returns:
        Tensor: (n, ), in float32 at least.
    """
    return _QualityFocal.apply(pred, target.detach(), beta)


class _QualityFocal(Function):
    """Keeps one tensor (its gradient) where autograd would keep six."""

    @staticmethod
    def forward(ctx: Any, pred: Tensor, target: Tensor,
                beta: float) -> Tensor:
        logits = at_least_float32(pred)
        score, soft = logits.sigmoid(), at_least_float32(target).sigmoid()
        difference = score - soft
        distance = difference.abs()
        if beta != 1:
            # kept above 0, where a power below 1 has an infinite slope
            distance.clamp_(min=torch.finfo(logits.dtype).tiny)
        factor = distance if beta == 1 else distance.pow(beta)
        bce = F.binary_cross_entropy_with_logits(
            logits, soft, reduction='none')
        if ctx.needs_input_grad[0]:
            # the slopes of the factor and of the cross-entropy
            slope = difference.sign().mul_(bce)
            if beta != 1:
                slope *= beta * distance.pow(beta - 1)
            slope.mul_(score).mul_(1 - score)
            ctx.save_for_backward(slope.addcmul_(factor, difference))
            ctx.dtype = pred.dtype
        return (factor * bce).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        slope, = ctx.saved_tensors
        return (grad.unsqueeze(-1) * slope).to(ctx.dtype), None, None


@MODELS.register_module()
class KDQualityFocalLoss(nn.Module):
    """Quality focal loss with a teacher's scores as targets (``loss_cls_kd``).

    The module of :func:`kd_quality_focal_loss` (CrossKD, arXiv 2306.11369,
    section 3.3).

    Example config: ``loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1,
    loss_weight=1.0)``.

    Args:
        beta: exponent of the modulating factor, >= 0.
        reduction: 'mean', 'sum' or 'none'.
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: a parameter is not a number or out of range.
    """

    compares = ('logits', )

    def __init__(self,
                 beta: float = 1.0,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__()
        name = type(self).__name__
        self.beta = check_number(name, 'beta', beta, 0)
        self.loss_weight = check_number(name, 'loss_weight', loss_weight, 0)
        self.reduction = reduction

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | None = None,
                reduction_override: str | None = None) -> Tensor:
        """Loss of (n, C) logits towards the teacher's (n, C) logits.

        Args:
            pred: (n, C) logits that learn.
            target: (n, C) logits of the teacher.
            weight: (n, ), one weight per location.
            avg_factor: a 'mean' divides the sum by it.
            reduction_override: used instead of ``reduction``.

        Returns:
            Tensor: scalar, or (n, ) with reduction 'none'.
        """
        loss = kd_quality_focal_loss(pred, target, self.beta)
        return self.loss_weight * weight_reduce_loss(
            loss, weight, reduction_override or self.reduction, avg_factor)
