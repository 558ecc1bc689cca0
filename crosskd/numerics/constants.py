"""Copying constants to the device without waiting for it."""
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

KEPT = 64  # how many of the latest constants are cached


@lru_cache(KEPT)
def constant(values: tuple, dtype: torch.dtype, device: torch.device,
             shape: tuple[int, ...] = (-1, )) -> Tensor:
    """Numbers on a device, copied there at their first use.

    Args:
        values: the numbers.
        dtype, device, shape: of the result.  The result is shared: do not
            change it.
    """
    return to_device([np.array(values).reshape(shape)], dtype, device)[0]


@torch.inference_mode(False)  # backward passes may need them
def to_device(arrays: Sequence[np.ndarray], dtype: torch.dtype,
              device: torch.device) -> list[Tensor]:
    """Copy arrays to a device, all at once and without waiting."""
    flat = torch.cat([torch.from_numpy(a).flatten().to(dtype) for a in arrays])
    parts = flat.to(device, non_blocking=True).split(
        [a.size for a in arrays])
    return [part.view(a.shape) for part, a in zip(parts, arrays)]
