"""mmengine's ``activation_checkpointing``, with all gradients."""
from collections.abc import Sequence
from functools import partial
from operator import attrgetter

from mmengine.runner import activation_checkpointing
from torch import nn
from torch.utils.checkpoint import checkpoint


def prepare_checkpointing(model: nn.Module,
                          modules: str | Sequence[str] | None) -> None:
    """Let mmengine checkpoint modules in the way that keeps the graph.

    Its own way (torch's ``use_reentrant=True``) runs a module without a
    graph, and no gradient leaves it where its inputs are tuples (necks,
    heads) or need none (images): neither towers for distillation nor what
    comes before the module would train, without a word.

    Args:
        model: the detector.
        modules: ``activation_checkpointing`` of the config.

    Raises:
        TypeError, ValueError: it names what the model does not have.
    """
    if modules is None:
        return
    names = [modules] if isinstance(modules, str) else modules
    if not isinstance(names, Sequence) or not all(
            isinstance(name, str) for name in names):
        raise TypeError('activation_checkpointing must be a list of names of '
                        f'modules, found {modules!r}')
    for name in names:
        try:
            found = attrgetter(name)(model)
        except AttributeError:
            found = None
        if not isinstance(found, nn.Module):
            raise ValueError(
                f'activation_checkpointing: {type(model).__name__} has no '
                f'module {name!r}; expected names such as \'backbone\' or '
                "'backbone.layer1'")
    vars(activation_checkpointing)['checkpoint'] = partial(
        checkpoint, use_reentrant=False)
