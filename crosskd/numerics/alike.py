"""Whether two ways to compute a map are one function."""
from torch import Tensor

FAR = 1e-2  # of what a map varies: TF32 is below, another function above
ROUNDING = 1e-5
HALF_ROUNDING = 1e-2


def alike(ours: Tensor, theirs: Tensor) -> bool:
    """Whether maps of one shape differ by rounding alone."""
    rounding = ROUNDING if ours.dtype.itemsize >= 4 else HALF_ROUNDING
    ours, theirs = ours.double(), theirs.double()
    limit = FAR * (ours - ours.mean()).norm() + rounding * ours.norm()
    return bool((ours - theirs).norm() <= limit)
