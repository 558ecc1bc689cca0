"""Small constants that stay on the device."""
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def on_device(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers as a tensor of the type and on the device of another.

    The tensor is kept: sending it anew would be a copy from the host in every
    step.  It must not be written to.
    """
    return _made(tuple(values), like.dtype, like.device)


@lru_cache(maxsize=256)
def _made(values: tuple[float, ...], dtype: torch.dtype,
          device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it may be used in training, too
        return torch.tensor(values, dtype=dtype, device=device)
