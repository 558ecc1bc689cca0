"""Focal and global distillation (FGD)."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmcv.cnn import ContextBlock
from mmdet.registry import MODELS
from mmengine.model import ModuleDict, ModuleList
from torch import Tensor

from ..arguments import check_number
from ..numerics.constants import constant
from ..numerics.precision import at_least_float32
from ..numerics.resizing import resized
from .feature_loss import FeatureLoss


@dataclass(frozen=True)
class FGDWeights:
    """Weights of the parts of FGD, with the paper's names.

    Attributes:
        alpha: of features inside boxes.
        beta: of features outside boxes.
        gamma: of attention.
        lambda_: of relations between pixels.
    """
    alpha: float
    beta: float
    gamma: float
    lambda_: float


def spatial_attention(x: Tensor, temperature: float) -> Tensor:
    """(N, H, W), ``H · W · softmax(mean over channels of |x| / T)``.

    FGD, equations 5 and 7.

    Args:
        x: (N, C, H, W) feature map.
        temperature: T, > 0.
    """
    mean = x.abs().mean(1)
    return (mean.flatten(1) / temperature).softmax(1).view_as(
        mean) * mean[0].numel()


def channel_attention(x: Tensor, temperature: float) -> Tensor:
    """(N, C), ``C · softmax(mean over locations of |x| / T)``.

    FGD, equations 6 and 8.

    Args:
        x: (N, C, H, W) feature map.
        temperature: T, > 0.
    """
    return (x.abs().mean((2, 3)) / temperature).softmax(1) * x.size(1)


def box_masks(boxes: Tensor, height: int,
              width: int) -> tuple[Tensor, Tensor]:
    """Weights of the locations of a map inside and outside boxes.

    FGD, equations 2 to 4.  The corners of a box are rounded outwards to
    locations, so a box of h × w strides covers (h + 1) × (w + 1) of them.

    Args:
        boxes: (N, n, 4) with n >= 1, xyxy divided by the width and height of
            the batch; negative ones cover nothing.
        height, width: of the map.

    Returns:
        tuple: two masks, (N, H, W) each.  Inside: at each location, the
        largest ``1 / ((h + 1) (w + 1))`` of the boxes that cover it, else 0.
        Outside: ``1 / count`` at all locations that no box covers.
    """
    corners = boxes * constant((width, height, width, height), boxes.dtype,
                               boxes.device)
    low, high = corners[..., :2].floor(), corners[..., 2:].ceil()
    columns, rows = (
        (low[..., k, None] <= at) & (at <= high[..., k, None])
        for k, at in enumerate(torch.arange(n, device=boxes.device)
                               for n in (width, height)))
    weight = (high - low + 1).prod(-1).reciprocal()[..., None, None]
    inside = (rows[..., None] & columns[..., None, :]).mul(weight).amax(1)
    outside = (inside == 0).to(inside.dtype)
    return inside, outside / outside.sum((1, 2), keepdim=True).clamp(min=1)


def fgd_loss(pred: Tensor, target: Tensor, boxes: Tensor,
             related: tuple[Tensor, Tensor], weights: FGDWeights,
             temperature: float = 0.5) -> Tensor:
    """Squared error by attention and boxes, and of attention and relations.

    Focal and global distillation (Yang et al., CVPR 2022, arXiv 2111.11837,
    equations 9 to 13), all sums divided by the number of images:

    - ``α Σ inside · A_s · A_c · (t - s)² + β Σ outside · A_s · A_c · (t -
      s)²``, with the teacher's attention A to locations and to channels;
    - ``γ`` times the sum of the absolute differences of both attentions;
    - ``λ Σ (R(t) - R(s))²``.

    Args:
        pred: (N, C, H, W) feature map that learns, s.
        target: (N, C, H, W) feature map of the teacher, t; no gradient flows
            into it.
        boxes: (N, n, 4), as in :func:`box_masks`.
        related: R(s) and R(t), (N, C, H, W) each: the two maps after a layer
            that adds to each location what it knows of the whole map.
        weights: α, β, γ and λ.
        temperature: of the attention, > 0.

    Returns:
        Tensor: scalar.
    """
    with torch.autocast(pred.device.type, enabled=False):
        ours, theirs, related_s, related_t = (
            at_least_float32(x) for x in (pred, target.detach(), *related))
        (at_s, to_s), (at_t, to_t) = (
            (spatial_attention(x, temperature),
             channel_attention(x, temperature)) for x in (ours, theirs))
        inside, outside = box_masks(boxes.to(ours.dtype), *ours.shape[2:])
        where = (weights.alpha * inside + weights.beta * outside) * at_t
        features = (where * torch.einsum(
            'nc,nchw->nhw', to_t, (ours - theirs).square())).sum()
        attention = ((at_s - at_t).abs().sum() + (to_s - to_t).abs().sum())
        relations = F.mse_loss(related_s, related_t, reduction='sum')
        return (features + weights.gamma * attention
                + weights.lambda_ * relations) / len(ours)


@MODELS.register_module()
class FGDLoss(FeatureLoss):
    """Focal and global distillation (FGD), for ``loss_feat_kd``.

    The module of :func:`fgd_loss` (Yang et al., CVPR 2022, arXiv 2111.11837).
    Two ``ContextBlock`` of mmcv for each level, one for each detector, train
    with the student and relate each location to the whole map.

    The defaults are the paper's for one-stage detectors with anchors.  For
    FCOS and RepPoints it uses ``temperature=0.8`` (FCOS), ``alpha=1.6e-3,
    beta=8e-4, gamma=8e-4, lambda_=8e-6``; for two-stage detectors
    ``alpha=5e-5, beta=2.5e-5, gamma=5e-5, lambda_=5e-7``.

    Example config: ``loss_feat_kd=dict(type='FGDLoss')``.

    Args:
        temperature: of the attention, > 0.
        alpha: weight of features inside boxes, >= 0.
        beta: weight of features outside boxes, >= 0.
        gamma: weight of attention, >= 0.
        lambda_: weight of relations between locations, >= 0.
        loss_weight: of everything together, >= 0.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    takes = ('level', 'boxes')
    method = 'FGD'

    def __init__(self, temperature: float = 0.5, alpha: float = 1e-3,
                 beta: float = 5e-4, gamma: float = 5e-4,
                 lambda_: float = 5e-6, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        name = type(self).__name__
        self.temperature = check_number(name, 'temperature', temperature, 0,
                                        inclusive=False)
        self.weights = FGDWeights(**{
            key: check_number(name, key, value, 0) for key, value in dict(
                alpha=alpha, beta=beta, gamma=gamma, lambda_=lambda_).items()})
        self.relations = ModuleList()

    def build_layers(self, channels: Sequence[int]) -> None:
        """Build two context blocks for each level."""
        self.relations = ModuleList(ModuleDict({
            whose: ContextBlock(c, 0.5) for whose in ('student', 'teacher')
        }) for c in channels)

    def forward(self, pred: Tensor, target: Tensor, level: int = 0, *,
                boxes: Tensor) -> Tensor:
        """The loss of one level.

        Args:
            pred: (N, C, H, W) feature map that learns.
            target: (N, C, H, W) feature map of the teacher.
            level: index of the level, as in :meth:`build_layers`.
            boxes: (N, n, 4), as in :func:`box_masks`.

        Returns:
            Tensor: scalar.
        """
        pred = resized(pred, target)
        blocks = self.relations[level]
        # the teacher may run in another type than these layers
        related = (blocks['student'](pred),
                   blocks['teacher'](target.detach().to(pred.dtype)))
        return self.loss_weight * fgd_loss(
            pred, target, boxes, related, self.weights, self.temperature)
