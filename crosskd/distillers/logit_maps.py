"""Pairs of logit maps, as they are given to ``SDDLoss``."""
from dataclasses import dataclass

from torch import Tensor


@dataclass
class LogitMaps:
    """Logits of student and teacher in B regions of one size.

    Attributes:
        student: (B, K, H, W) logits that learn.
        teacher: (B, K, H, W) logits of the teacher.
        labels: (B, ) classes where they are known.
        mask: (B, H, W), bool, what is inside the image; None for all.
    """
    student: Tensor
    teacher: Tensor
    labels: Tensor | None = None
    mask: Tensor | None = None

    @property
    def confidence(self) -> Tensor:
        """(B, H, W), the teacher's highest class score at each location."""
        return self.teacher.detach().float().sigmoid().amax(1)
