"""Building the losses of ``kd_cfg``."""
from collections.abc import Sequence

from mmdet.registry import MODELS
from torch import nn

from ..registry import in_our_scope
from .checks import check_number
from .comparing import FORMS, OF_MMDET, compared_forms


def build_loss(key: str, cfg: dict, forms: Sequence[str]) -> nn.Module:
    """Build a loss and check that it can be used.

    Args:
        key: of ``kd_cfg``, for messages.
        cfg: config of a loss in mmdet's ``MODELS``.
        forms: what it may compare, keys of ``FORMS``.

    Raises:
        TypeError, ValueError: it cannot be built or used.
    """
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise TypeError(f"kd_cfg.{key} must be a dict with a 'type', "
                        f'found {cfg!r}')
    try:
        loss = MODELS.build(in_our_scope(MODELS, cfg))
    except (KeyError, TypeError, ValueError, AssertionError) as e:
        kind = TypeError if isinstance(e, TypeError) else ValueError
        raise kind(f'kd_cfg.{key}: {e}') from None
    found = compared_forms(loss)
    if not set(found) & set(forms):
        raise TypeError(
            f'kd_cfg.{key}: expected a loss that compares '
            f'{" or ".join(f"{f} {FORMS[f]}" for f in forms)}, such as '
            f'{", ".join(_examples(forms))}; found {type(loss).__name__}, '
            f'which compares {", ".join(found) or "nothing that it names"}')
    # mmdet's own losses take any weight
    check_number(f'kd_cfg.{key}: {type(loss).__name__}', 'loss_weight',
                 getattr(loss, 'loss_weight', 1.0), 0)
    if getattr(loss, 'reduction', 'mean') != 'mean':
        raise ValueError(f"kd_cfg.{key}: reduction must be 'mean', "
                         f'found {loss.reduction!r}')
    if not getattr(loss, 'use_sigmoid', True):
        raise ValueError(f'kd_cfg.{key}: use_sigmoid must be True, found '
                         f'{loss.use_sigmoid}')
    return loss


def _examples(forms: Sequence[str]) -> list[str]:
    """Names of losses that compare one of these forms."""
    ours = [kind for kind in MODELS.module_dict.values()
            if kind.__module__.startswith('crosskd.')
            and set(vars(kind).get('compares', ())) & set(forms)]
    mmdets = [kind for kind, form in OF_MMDET.items() if form in forms]
    return [kind.__name__ for kind in (*ours, *mmdets)]
