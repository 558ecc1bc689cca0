"""Recording what passes at the taps of a detector."""
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigValueError
from ..names import did_you_mean
from .tap import Tap


@contextmanager
def tapped(detector: nn.Module,
           taps: Mapping[str, Tap]) -> Iterator[dict[str, list[Tensor]]]:
    """Record features of the pass that runs in the block.

    Args:
        detector: the detector whose modules run.
        taps: by the name of the features.

    Yields:
        dict: by name, per level (N, C, H, W), filled while the block runs.
            (N, L, C) tokens become (N, C, L, 1) maps.

    Raises:
        ValueError: the detector has no such module.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in taps}
    with ExitStack() as stack:
        for name, tap in taps.items():
            module = module_of(detector, tap)
            handle = (
                module.register_forward_hook(partial(_after, found[name]))
                if tap.io == 'output' else module.register_forward_pre_hook(
                    partial(_before, found[name]), with_kwargs=True))
            stack.callback(handle.remove)
        yield found


def module_of(detector: nn.Module, tap: Tap) -> nn.Module:
    """The module of a tap.

    Raises:
        ValueError: no module has that name; the message suggests one.
    """
    try:
        return detector.get_submodule(tap.module)
    except AttributeError:
        modules = dict(detector.named_modules())
        raise ConfigValueError(
            f'{type(detector).__name__} has no module {tap.module!r}, which '
            'kd_cfg names (student or teacher of a FeatureDistiller)'
            f'{did_you_mean(tap.module, modules) or _below(tap, modules)}'
        ) from None


def _below(tap: Tap, modules: Mapping[str, nn.Module]) -> str:
    """The end of a message: which modules exist where the name goes wrong."""
    known = tap.module
    while known and known not in modules:
        known = known.rpartition('.')[0]
    names = [name for name, _ in modules[known].named_children()]
    where = known or 'the detector'
    return f'; the modules of {where} are {", ".join(names)}' if names else ''


def _before(found: list[Tensor], _: nn.Module, args: tuple,
            kwargs: dict) -> None:
    found += _maps([*args, *kwargs.values()])


def _after(found: list[Tensor], _: nn.Module, args: tuple, out: Any) -> None:
    found += _maps(out)


def _maps(value: Any) -> Iterator[Tensor]:
    """The feature maps in the input or output of a module."""
    if isinstance(value, Tensor):
        if value.dim() == 4:
            yield value
        elif value.dim() == 3:  # tokens
            yield value.transpose(1, 2).unsqueeze(-1)
    elif isinstance(value, dict):
        yield from _maps(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _maps(one)
