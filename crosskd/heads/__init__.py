"""Head adapters: what distillation needs to know of each kind of mmdet head.

One file a family; nothing else knows the names of a head's layers.
"""
from .anchor import AnchorHeadAdapter
from .atss import ATSSHeadAdapter
from .base import HeadAdapter
from .fcos import FCOSHeadAdapter
from .finding import adapter_of
from .gfl import GFLHeadAdapter
from .layout import Geometry, HeadRecord, Targets
from .recorder import record
from .retina import RetinaHeadAdapter

__all__ = [
    'ATSSHeadAdapter', 'AnchorHeadAdapter', 'FCOSHeadAdapter',
    'GFLHeadAdapter', 'Geometry', 'HeadAdapter', 'HeadRecord',
    'RetinaHeadAdapter', 'Targets', 'adapter_of', 'record'
]
