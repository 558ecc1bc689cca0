"""mmdet's IoU and GIoU losses, without copies to the device."""
import torch
from mmdet.models import losses as mmdet_losses
from torch import Tensor

MIN_AREA = 1e-6  # mmdet's eps of an overlap


class IoULoss(mmdet_losses.IoULoss):
    """mmdet's ``IoULoss``, for ``loss_reg_kd``, with the same values.

    In each call, mmdet's class copies a constant to the device and asks the
    device whether any weight is above 0.  This class does neither.
    """

    def forward(self, pred: Tensor, target: Tensor,
                reduction_override: str = 'none') -> Tensor:
        """Loss of (n, 4) boxes, xyxy in pixels: (n, )."""
        overlap, union = _overlap_and_union(pred, target)
        ious = (overlap / union.clamp(min=MIN_AREA)).clamp(min=self.eps)
        if self.linear or self.mode == 'linear':
            loss = 1 - ious
        else:
            loss = 1 - ious**2 if self.mode == 'square' else -ious.log()
        return loss if self.loss_weight == 1 else self.loss_weight * loss


class GIoULoss(mmdet_losses.GIoULoss):
    """mmdet's ``GIoULoss``, for ``loss_reg_kd``; see :class:`IoULoss`.

    Rezatofighi et al., arXiv 1902.09630, algorithm 1.
    """

    def forward(self, pred: Tensor, target: Tensor,
                reduction_override: str = 'none') -> Tensor:
        """Loss of (n, 4) boxes, xyxy in pixels: (n, )."""
        overlap, union = _overlap_and_union(pred, target)
        hull = _area(torch.min(pred[:, :2], target[:, :2]),
                     torch.max(pred[:, 2:], target[:, 2:]))
        union, hull = union.clamp(min=self.eps), hull.clamp(min=self.eps)
        loss = 1 - (overlap / union - (hull - union) / hull)
        return loss if self.loss_weight == 1 else self.loss_weight * loss


#: by mmdet's class, ours that replaces it
OURS: dict[type, type] = {
    mmdet_losses.IoULoss: IoULoss, mmdet_losses.GIoULoss: GIoULoss}


def _overlap_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of (n, 4) boxes and (n, 4) others: (n, ) each."""
    overlap = _area(torch.max(a[:, :2], b[:, :2]),
                    torch.min(a[:, 2:], b[:, 2:]))
    ours, theirs = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    return overlap, ours + theirs - overlap


def _area(low: Tensor, high: Tensor) -> Tensor:
    """Area between two corners; 0 if they are the wrong way round."""
    sides = (high - low).clamp(min=0)
    return sides[:, 0] * sides[:, 1]
