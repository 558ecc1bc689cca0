"""Numbers of all ranks."""
import torch
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor


def mean_over_ranks(count: float, device: torch.device) -> float | Tensor:
    """The mean over ranks of a number that each knows on the host.

    Args:
        count: the number.
        device: where it is, if there are several ranks.

    Returns:
        Tensor: without dimensions; the number itself if there is one rank.
    """
    if get_world_size() == 1:
        return count
    return reduce_mean(torch.tensor(count, dtype=torch.float, device=device))
