"""The registered hooks."""
from .repeatable_epochs import RepeatableEpochsHook
from .skip_nonfinite import SkipNonFiniteHook
from .state_beside import StateBesideHook

__all__ = ['RepeatableEpochsHook', 'SkipNonFiniteHook', 'StateBesideHook']
