"""Checking that two ways to compute a map give the same result."""
from torch import Tensor

# maps are computed in float64, but heads round some of them to float32
FAR = 1e-6  # relative to how much a map varies
ROUNDING = 2e-7  # relative to the map


def same_function(ours: Tensor, theirs: Tensor) -> bool:
    """Whether maps of one shape differ at most by float32's rounding."""
    ours, theirs = ours.double(), theirs.double()
    limit = FAR * (ours - ours.mean()).norm() + ROUNDING * ours.norm()
    return bool((ours - theirs).norm() <= limit)
