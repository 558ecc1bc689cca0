"""KL divergence with a temperature, between two sets of softmax logits."""
from typing import Any

import torch.nn.functional as F
from mmdet.models.losses.kd_loss import (
    KnowledgeDistillationKLDivLoss as _MMDetKLDivLoss,
)
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..arguments import check_number
from ..compat.mmdet_registries import in_place_of_mmdets
from ..errors import ConfigValueError
from ..numerics.precision import at_least_float32

CLASS_REDUCTIONS = ('mean', 'sum')


def kl_div_loss(pred: Tensor,
                target: Tensor,
                temperature: float = 1.0,
                class_reduction: str = 'sum') -> Tensor:
    """KL divergence between two sets of softmax logits.

    ``T² Σ_k p_k (log p_k − log q_k)``, where ``p = softmax(t / T)`` and
    ``q = softmax(x / T)``.

    Hinton et al., arXiv 1503.02531; on the bins of a box distribution: Zheng
    et al. (LD), arXiv 2102.12252, equation 4.

    Args:
        pred: (n, K) logits that learn.
        target: (n, K) logits of the teacher; no gradient flows into them.
        temperature: T > 0.
        class_reduction: 'sum' over the K entries as above, or 'mean'.

    Returns:
        Tensor: (n, ).
    """
    loss = _KLDiv.apply(pred, target.detach(), temperature)
    return loss if class_reduction == 'sum' else loss / pred.size(-1)


class _KLDiv(Function):
    """Keeps one tensor (its gradient) where autograd would keep two."""

    @staticmethod
    def forward(ctx: Any, pred: Tensor, target: Tensor,
                temperature: float) -> Tensor:
        logits, targets = at_least_float32(pred), at_least_float32(target)
        if temperature != 1:
            logits, targets = logits / temperature, targets / temperature
        soft = targets.softmax(-1)
        log_pred = logits.log_softmax(-1)
        loss = F.kl_div(log_pred, soft, reduction='none').sum(-1)
        if ctx.needs_input_grad[0]:
            slope = log_pred.exp_().sub_(soft)
            ctx.save_for_backward(
                slope if temperature == 1 else slope.mul_(temperature))
            ctx.dtype = pred.dtype
        return loss if temperature == 1 else loss * temperature**2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        slope, = ctx.saved_tensors
        return (grad.unsqueeze(-1) * slope).to(ctx.dtype), None, None


@in_place_of_mmdets(MODELS)
class KnowledgeDistillationKLDivLoss(_MMDetKLDivLoss):
    """mmdet's loss of that name with one more argument, ``class_reduction``.

    The module of :func:`kl_div_loss`.  It replaces mmdet's class in the
    registry, and by default it computes the same.

    Example config: ``loss_reg_kd=dict(type='KnowledgeDistillationKLDivLoss',
    class_reduction='sum', T=1, loss_weight=4.0)``.

    Args:
        class_reduction: 'mean' or 'sum' over the entries of a distribution.
        reduction: 'mean', 'sum' or 'none' over the distributions.
        loss_weight: >= 0.
        T: temperature, > 0.

    Raises:
        TypeError, ValueError: a parameter is not a number or out of range.
    """

    compares = ('logits', 'bins')

    def __init__(self,
                 class_reduction: str = 'mean',
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 T: float = 10) -> None:
        name = type(self).__name__
        check_number(name, 'T', T, 0, inclusive=False)
        check_number(name, 'loss_weight', loss_weight, 0)
        if class_reduction not in CLASS_REDUCTIONS:
            raise ConfigValueError(
                f'{name}: class_reduction must be one of '
                f'{CLASS_REDUCTIONS}, found {class_reduction!r}')
        # mmdet's asserts T >= 1; any positive temperature is defined
        super().__init__(reduction=reduction, loss_weight=loss_weight)
        self.T = T
        self.class_reduction = class_reduction

    def forward(self,
                pred: Tensor,
                soft_label: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | None = None,
                reduction_override: str | None = None) -> Tensor:
        """Loss of (n, K) logits towards the teacher's (n, K) logits.

        Args:
            pred: (n, K) logits that learn.
            soft_label: (n, K) logits of the teacher.
            weight: (n, ), one weight per distribution.
            avg_factor: a 'mean' divides the sum by it.
            reduction_override: used instead of ``reduction``.

        Returns:
            Tensor: scalar, or (n, ) with reduction 'none'.
        """
        loss = kl_div_loss(pred, soft_label, self.T, self.class_reduction)
        return self.loss_weight * weight_reduce_loss(
            loss, weight, reduction_override or self.reduction, avg_factor)
