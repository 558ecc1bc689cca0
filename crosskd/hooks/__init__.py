"""Hooks: what watches a run and leaves the step as it is."""
from .repeatable_epochs import RepeatableEpochsHook
from .skip_nonfinite import SkipNonFiniteHook

__all__ = ['RepeatableEpochsHook', 'SkipNonFiniteHook']
