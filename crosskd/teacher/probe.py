"""Testing layers: whether they have hooks, and their output for an input."""
import copy

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torchs

HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks',
         '_backward_pre_hooks')
ON_ALL_MODULES = [getattr(torchs, f'_global{kind}') for kind in HOOKS]


def has_hooks(module: nn.Module) -> bool:
    """Whether calling a module also calls hooks, its own or global ones."""
    return any(getattr(module, kind) for kind in HOOKS) or any(ON_ALL_MODULES)


def exact_copy(module: nn.Module) -> nn.Module:
    """A copy in float64, without hooks.

    Only hooks with which torch computes a weight stay.
    """
    memo: dict = {}
    for part in module.modules():
        for kind in HOOKS:
            hooks = getattr(part, kind)
            memo[id(hooks)] = type(hooks)(
                (key, hook) for key, hook in hooks.items()
                if type(hook).__module__.startswith('torch.nn.utils.'))
    return copy.deepcopy(module, memo).double()


def pattern(*size: int, device: torch.device) -> Tensor:
    """A fixed test input of a size, in float64, with values of both signs."""
    count = int(torch.Size(size).numel())
    return torch.arange(
        count, dtype=torch.float64, device=device).sin().view(size)
