"""Constants that are known on the host, on the device without a wait."""
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

KEPT = 64  # of the last constants that were asked for


@lru_cache(KEPT)
def constant(values: tuple, dtype: torch.dtype, device: torch.device,
             shape: tuple[int, ...] = (-1, )) -> Tensor:
    """Numbers on a device, copied there when first asked for.

    Args:
        values: the numbers.
        dtype, device, shape: of the result, which nobody may change.
    """
    return to_device([np.array(values).reshape(shape)], dtype, device)[0]


@torch.inference_mode(False)  # a backward pass may need them
def to_device(arrays: Sequence[np.ndarray], dtype: torch.dtype,
              device: torch.device) -> list[Tensor]:
    """Arrays on a device, in one copy that nothing waits for."""
    flat = torch.cat([torch.from_numpy(a).flatten().to(dtype) for a in arrays])
    parts = flat.to(device, non_blocking=True).split(
        [a.size for a in arrays])
    return [part.view(a.shape) for part, a in zip(parts, arrays)]
