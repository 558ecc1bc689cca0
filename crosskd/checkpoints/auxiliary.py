"""Parameters that train with a module but stay out of its state dict."""
from collections import OrderedDict
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigValueError


class Auxiliary(BaseModule):
    """Base class of modules whose parameters stay out of state dicts.

    A detector's ``state_dict()`` must be that of the plain detector, even if
    its distillers or channel adapters have parameters.  So these are children
    of a module of this class, which saving and loading a state dict ignore.
    In every other way their parameters and buffers belong to the detector:
    they are in ``parameters()``, and are trained, moved, copied, averaged
    (EMA) and synchronised (DDP) like the rest.

    :func:`auxiliary_state` reads them, and
    :class:`~crosskd.engine.hooks.AuxiliaryStateHook` saves them in
    checkpoints, under a key of their own beside ``state_dict``.
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
        # its children keep the values that they have
        state_dict.update({prefix + k: v for k, v in self.content().items()})
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def auxiliary_state(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of all :class:`Auxiliary` modules in a module, by name."""
    return {
        f'{name}.{key}': value
        for name, m in module.named_modules() if isinstance(m, Auxiliary)
        for key, value in m.content().items()
    }


def load_auxiliary_state(module: nn.Module, state: dict[str, Tensor],
                      found: str) -> None:
    """Load what :func:`auxiliary_state` returned.

    Args:
        module: a module with the same names and shapes.
        state: what :func:`auxiliary_state` returned.
        found: where the state comes from, for messages.

    Raises:
        ValueError: names or shapes differ.
    """
    own = auxiliary_state(module)
    for kind, names in (('has no', own.keys() - state.keys()),
                        ('has', state.keys() - own.keys())):
        if names:
            raise ConfigValueError(
                f'{found} {kind} {", ".join(sorted(names))}, unlike the '
                'losses and channel adapters of this run; resume with the '
                'kd_cfg and the teacher of the run that wrote the checkpoint')
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise ConfigValueError(
                f'{found}: {name} has shape {tuple(state[name].shape)}, '
                f'expected {tuple(value.shape)}')
    for name, value in own.items():
        value.data.copy_(state[name])


def _leave_out(module: nn.Module, state: OrderedDict, prefix: str,
               _: dict) -> None:
    for entries in (state, getattr(state, '_metadata', {})):
        for key in [k for k in entries if f'{k}.'.startswith(prefix)]:
            del entries[key]
