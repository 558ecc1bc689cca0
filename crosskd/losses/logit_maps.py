"""Pairs of logit maps, the input of ``SDDLoss``."""
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import ConfigValueError


@dataclass
class LogitMaps:
    """Logits of student and teacher in B regions of one size.

    Attributes:
        student: (B, K, H, W) logits that learn.
        teacher: (B, K, H, W) logits of the teacher.
        labels: (B, ) classes; None if they are not known.
        extents: for each image, the height and width of the part of its maps
            that is inside the image, counted in locations from the first.
            The maps of an image are adjacent, and all images have equally
            many.  None if all maps are inside completely.
        shares: (B, L), how much each map counts in each of L losses, which
            are logged separately; None for one loss in which each map
            counts 1.
    """
    student: Tensor
    teacher: Tensor
    labels: Tensor | None = None
    extents: Sequence[tuple[int, int]] | None = None
    shares: Tensor | None = None

    def __post_init__(self) -> None:
        if self.extents is not None and (
                not self.extents or len(self.student) % len(self.extents)):
            raise ConfigValueError(
                'extents must be a (height, width) for each image, and the '
                'number of images must divide the number of maps '
                f'({len(self.student)}), found {self.extents!r}')

    @property
    def confidence(self) -> Tensor:
        """(B, H, W), the teacher's highest class score at each location."""
        return self.teacher.detach().float().sigmoid().amax(1)
