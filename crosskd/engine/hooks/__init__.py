"""The registered hooks."""
from .loss_shares import LossSharesHook
from .repeatable_epochs import RepeatableEpochsHook
from .skip_nonfinite import SkipNonFiniteHook
from .state_beside import StateBesideHook
from .visualization import DistillationVisualizationHook

__all__ = [
    'DistillationVisualizationHook', 'LossSharesHook', 'RepeatableEpochsHook',
    'SkipNonFiniteHook', 'StateBesideHook'
]
