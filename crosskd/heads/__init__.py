"""One small file per head family; nothing else knows a head's layer names."""
from .atss import ATSSHeadFamily
from .base import HeadFamily, Predictions, Targets, family_of
from .fcos import FCOSHeadFamily
from .gfl import GFLHeadFamily
from .retina import RetinaHeadFamily
from .trace import HeadTrace, check_maps, trace

__all__ = [
    'ATSSHeadFamily', 'FCOSHeadFamily', 'GFLHeadFamily', 'HeadFamily',
    'HeadTrace', 'Predictions', 'RetinaHeadFamily', 'Targets', 'check_maps',
    'family_of', 'trace'
]
