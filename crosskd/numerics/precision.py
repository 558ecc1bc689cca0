"""Computing in float32 where half precision is not enough."""
import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or float64 if it is (to check gradients)."""
    return x if x.dtype == torch.float64 else x.float()
