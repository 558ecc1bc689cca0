"""A detector with fused norms takes the checkpoints that it took before."""
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Seen:
    """Whether fused norms came back; a detector and its parts share it."""
    came_back = False


def watch_loading(detector: nn.Module,
                  before: Mapping[nn.Module, Mapping[str, Any]]) -> None:
    """Let fused batch norms come back when weights with norms are loaded.

    A state dict without these norms is one of the fused detector, and is
    loaded as it is.

    Args:
        detector: whose norms have just been fused.
        before: the children of its modules, by name, when they were not.
    """
    seen = vars(detector).setdefault('_norms_seen', _Seen())
    for parent, children in before.items():
        conv, fused = '', {}
        for name, child in children.items():
            if isinstance(child, nn.Conv2d):
                conv = name
            elif isinstance(child, _BatchNorm) and (
                    parent._modules[name] is not child):
                fused[name] = conv, child
        if not fused:
            continue
        if '_fused_norms' not in vars(parent):
            parent._register_load_state_dict_pre_hook(
                partial(_put_back, seen), with_module=True)
        vars(parent)['_fused_norms'] = fused


def norms_came_back(detector: nn.Module) -> bool:
    """Whether fused norms have come back since this was last asked."""
    seen = vars(detector).get('_norms_seen', _Seen)
    came_back = seen.came_back
    if came_back:
        seen.came_back = False
    return came_back


def _put_back(seen: _Seen, parent: nn.Module, state: Mapping[str, Any],
              prefix: str, *_: Any) -> None:
    for name, (conv, norm) in vars(parent)['_fused_norms'].items():
        if parent._modules[name] is not norm and {
                f'{prefix}{conv}.weight',
                f'{prefix}{name}.running_mean'} <= state.keys():
            _separate(parent._modules[conv], norm,
                      f'{prefix}{conv}.bias' in state)
            parent._modules[name] = norm
            seen.came_back = True


@torch.no_grad()
def _separate(conv: Any, norm: Any, has_bias: bool) -> None:
    """Let a norm do what a fused bias did, for what is not loaded."""
    norm.to(conv.weight.device, conv.weight.dtype)
    for values, value in ((norm.weight, 1), (norm.bias, 0),
                          (norm.running_mean, 0),
                          (norm.running_var, 1 - norm.eps)):
        if values is not None:
            values.fill_(value)
    if not has_bias:
        norm.running_mean.copy_(-conv.bias)
        conv.register_parameter('bias', None)
