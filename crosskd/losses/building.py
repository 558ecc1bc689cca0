"""Building the losses of distillers."""
import inspect
from collections.abc import Sequence

from mmdet.registry import MODELS
from torch import nn

from ..arguments import check_has_type, check_number, naming
from ..errors import ConfigTypeError, ConfigValueError
from ..registry import in_our_scope
from . import box_losses
from .comparing import FORMS, MMDETS_FORMS, REFUSED, compared_forms

NOT_SAID = "an unknown form (it has no attribute 'compares')"


def build_loss(key: str, cfg: dict, forms: Sequence[str]) -> nn.Module:
    """Build a loss and check that it can be used.

    Args:
        key: of the config, for messages.
        cfg: config of a loss in mmdet's ``MODELS``.
        forms: what it may compare, keys of ``FORMS``.

    Raises:
        TypeError, ValueError: it cannot be built or used.
    """
    check_has_type(key, cfg)
    with naming(f'{key}: '):
        loss = MODELS.build(in_our_scope(MODELS, cfg))
    if type(loss) in box_losses.OURS:  # the same values, without copies
        loss.__class__ = box_losses.OURS[type(loss)]
    found = compared_forms(loss)
    if not found and type(loss) in REFUSED:
        raise ConfigTypeError(
            f'{key}: {type(loss).__name__} {REFUSED[type(loss)]}; expected '
            f'{", ".join(_examples(forms))}')
    if not set(found) & set(forms):
        raise ConfigTypeError(
            f'{key}: expected a loss that compares '
            f'{" or ".join(f"{f} {FORMS[f]}" for f in forms)}, such as '
            f'{", ".join(_examples(forms))}; found {type(loss).__name__}, '
            f'which compares {", ".join(found) or NOT_SAID}')
    # mmdet's own losses take any weight
    check_number(f'{key}: {type(loss).__name__}', 'loss_weight',
                 getattr(loss, 'loss_weight', 1.0), 0)
    if getattr(loss, 'reduction', 'mean') != 'mean':
        raise ConfigValueError(f"{key}: reduction must be 'mean', "
                               f'found {loss.reduction!r}')
    if not getattr(loss, 'use_sigmoid', True):
        raise ConfigValueError(f'{key}: use_sigmoid must be True, found '
                               f'{loss.use_sigmoid}')
    if not set(found) <= {'features', 'regions'}:
        try:
            inspect.signature(loss.forward).bind(
                None, None, reduction_override='none')
        except TypeError as e:
            raise ConfigTypeError(
                f'{key}: {type(loss).__name__} must take (pred, '
                f"target, reduction_override='none'): {e}") from None
    return loss


def _examples(forms: Sequence[str]) -> list[str]:
    """Names of losses that compare one of these forms."""
    ours = [kind for kind in MODELS.module_dict.values()
            if kind.__module__.startswith('crosskd.')
            and set(getattr(kind, 'compares', ())) & set(forms)]
    mmdets = [kind for kind, form in MMDETS_FORMS.items() if form in forms]
    return [kind.__name__ for kind in (*ours, *mmdets)]
