"""What trains with a module and is saved beside its state dict."""
from collections import OrderedDict
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn


class Beside(BaseModule):
    """A container whose content is no part of the state dict around it.

    Its content is a part of the module around it in every other way: it is in
    ``parameters()``, and so it is trained, moves, is copied, averaged (EMA)
    and synchronised (DDP) like the rest.  A state dict of the module around
    it is saved and loaded as if it were not there.  What it holds is read by
    :func:`state_beside`, which
    :class:`~crosskd.hooks.StateBesideHook` puts into checkpoints.
    """

    def __init__(self) -> None:
        super().__init__()
        self._register_state_dict_hook(_leave_out)

    def content(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers of its children, by name."""
        return {
            f'{name}.{key}': value
            for name, child in self.named_children()
            for key, value in child.state_dict(keep_vars=True).items()
        }

    def _load_from_state_dict(self, state_dict: dict, prefix: str,
                              *args: Any, **kwargs: Any) -> None:
        # its children find what they have already
        state_dict.update({prefix + k: v for k, v in self.content().items()})
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def state_beside(module: nn.Module) -> dict[str, Tensor]:
    """What all :class:`Beside` in a module hold, by its full name."""
    return {
        f'{name}.{key}': value
        for name, m in module.named_modules() if isinstance(m, Beside)
        for key, value in m.content().items()
    }


def load_state_beside(module: nn.Module, state: dict[str, Tensor],
                      found: str) -> None:
    """Put back what :func:`state_beside` has read.

    Args:
        module: as it was then.
        state: as it was returned.
        found: where it comes from, for messages.

    Raises:
        ValueError: names or shapes differ.
    """
    own = state_beside(module)
    for kind, names in (('has no', own.keys() - state.keys()),
                        ('has', state.keys() - own.keys())):
        if names:
            raise ValueError(
                f'{found} {kind} {", ".join(sorted(names))}, which the '
                'configured losses do not agree with; resume with the kd_cfg '
                'that it was written with')
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise ValueError(
                f'{found}: {name} is of shape {tuple(state[name].shape)}, '
                f'expected {tuple(value.shape)}')
    for name, value in own.items():
        value.data.copy_(state[name])


def _leave_out(module: nn.Module, state: OrderedDict, prefix: str,
               _: dict) -> None:
    for entries in (state, getattr(state, '_metadata', {})):
        for key in [k for k in entries if f'{k}.'.startswith(prefix)]:
            del entries[key]
