"""The registered hooks."""
from .auxiliary_state import AuxiliaryStateHook
from .loss_shares import LossSharesHook
from .repeatable_epochs import RepeatableEpochsHook
from .skip_nonfinite import SkipNonFiniteHook

__all__ = [
    'AuxiliaryStateHook', 'LossSharesHook', 'RepeatableEpochsHook',
    'SkipNonFiniteHook'
]
