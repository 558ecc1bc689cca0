"""Means over all processes."""
from collections.abc import Sequence

import torch
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor


def mean_of_sums(levels: Sequence[Tensor], at_least: float) -> Tensor:
    """The mean over processes of the sum of all levels.

    Args:
        levels: (N, P) each.
        at_least: a lower bound of the mean.
    """
    total = torch.cat(list(levels), 1).sum()
    return reduce_mean(total).clamp(min=at_least)


def mean_over_ranks(count: float, device: torch.device,
                    at_least: float = 0) -> float | Tensor:
    """The mean over processes of a number that each has on the host.

    Args:
        count: the number.
        device: of the mean, if there are several processes.
        at_least: a lower bound of the mean.

    Returns:
        Tensor: without dimensions; a number if there is one process.
    """
    if get_world_size() == 1:
        return max(count, at_least)
    return reduce_mean(torch.tensor(
        count, dtype=torch.float, device=device)).clamp(min=at_least)
