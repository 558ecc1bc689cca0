"""The model inside a wrapper for distributed training."""
from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> Any:
    """The model itself, without its wrapper, if it has one.

    Args:
        model: a Runner's ``model``; with several processes it is a wrapper
            such as mmengine's ``MMDistributedDataParallel``.
    """
    return model.module if is_model_wrapper(model) else model
