"""Head families: what distillation needs to know of each kind of mmdet head.

One file a family; nothing else knows the names of a head's layers.
"""
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
