"""mmengine's ``activation_checkpointing``, without losing gradients.

What: mmengine's function that checkpoints modules runs with
``use_reentrant=False``.
Why: mmengine uses torch's ``use_reentrant=True``, which runs a module without
an autograd graph.  If its inputs are tuples (necks, heads) or need no gradient
(images), no gradient comes back: the layers that distillation reads, and all
layers before the module, would silently not train.
Until: mmengine passes ``use_reentrant=False``; neither 0.10.7 nor OneDL's
0.10.12 does.
"""
from collections.abc import Sequence
from functools import partial
from operator import attrgetter

from mmengine.runner import activation_checkpointing
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..errors import ConfigTypeError, ConfigValueError


def prepare_checkpointing(model: nn.Module,
                          modules: str | Sequence[str] | None) -> None:
    """Let mmengine checkpoint modules with ``use_reentrant=False``.

    Args:
        model: the detector.
        modules: ``activation_checkpointing`` of the config: names of modules.

    Raises:
        TypeError: it is not a list of names.
        ValueError: the model has no module of that name.
    """
    if modules is None:
        return
    names = [modules] if isinstance(modules, str) else modules
    if not isinstance(names, Sequence) or not all(
            isinstance(name, str) for name in names):
        raise ConfigTypeError(
            'activation_checkpointing must be a list of module names, '
            f'found {modules!r}')
    for name in names:
        try:
            found = attrgetter(name)(model)
        except AttributeError:
            found = None
        if not isinstance(found, nn.Module):
            raise ConfigValueError(
                f'activation_checkpointing: {type(model).__name__} has no '
                f'module {name!r}; expected names such as \'backbone\' or '
                "'backbone.layer1'")
    vars(activation_checkpointing)['checkpoint'] = partial(
        checkpoint, use_reentrant=False)
