"""Whether two ways to compute a map are one function."""
from torch import Tensor

# computed in float64, though heads round some of their maps to float32
FAR = 1e-6  # of what a map varies
ROUNDING = 2e-7  # of a map


def same_function(ours: Tensor, theirs: Tensor) -> bool:
    """Whether maps of one shape differ by float32's rounding at most."""
    ours, theirs = ours.double(), theirs.double()
    limit = FAR * (ours - ours.mean()).norm() + ROUNDING * ours.norm()
    return bool((ours - theirs).norm() <= limit)
