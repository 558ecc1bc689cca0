"""How much of the gradient distillation should be."""
import math
from dataclasses import dataclass

from ...arguments import check_number
from ...errors import ConfigValueError


@dataclass(frozen=True)
class GradientShare:
    """The share of distillation in the gradient, and its limits.

    If the gradient of all distillation losses is ``ratio`` times that of the
    detection losses, its share is ``ratio / (1 + ratio)``.  RT-DETRv4
    controls it in this way.

    Args:
        target: the share, between 0 and 1.
        tolerance: how far the share may be from it.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """
    target: float
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_number(name, 'target', self.target, 0, inclusive=False)
        check_number(name, 'tolerance', self.tolerance, 0)
        if self.target >= 1:
            raise ConfigValueError(
                f'{name}: target must be below 1, found {self.target!r}')

    def change(self, ratio: float) -> float:
        """What to multiply the weights of distillation losses with.

        Args:
            ratio: mean ratio of the two gradients' norms.

        Returns:
            float: 1 if the share is within its limits; else the factor that
            brings it to the target.
        """
        # a gradient of 0 cannot be scaled
        if not (math.isfinite(ratio) and ratio > 0) or abs(
                ratio / (1 + ratio) - self.target) <= self.tolerance:
            return 1.0
        return self.target / (1 - self.target) / ratio
