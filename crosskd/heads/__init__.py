"""Head adapters: what distillation needs to know of each kind of mmdet head.

One file a family; nothing else knows the names of a head's layers.
"""
from .anchor import AnchorHeadAdapter
from .atss import ATSSHeadAdapter
from .base import HeadAdapter
from .class_counts import class_counts
from .ddod import DDODHeadAdapter
from .fcos import FCOSHeadAdapter
from .gfl import GFLHeadAdapter
from .layout import Geometry, HeadRecord, Targets
from .lookup import adapter_of, default_tap, dense_head
from .paa import PAAHeadAdapter
from .recorder import record
from .retina import RetinaHeadAdapter
from .rtmdet import RTMDetHeadAdapter
from .tood import TOODHeadAdapter
from .vfnet import VFNetHeadAdapter
from .yolox import YOLOXHeadAdapter

__all__ = [
    'ATSSHeadAdapter', 'AnchorHeadAdapter', 'DDODHeadAdapter',
    'FCOSHeadAdapter', 'GFLHeadAdapter', 'Geometry', 'HeadAdapter',
    'HeadRecord', 'PAAHeadAdapter', 'RTMDetHeadAdapter', 'RetinaHeadAdapter',
    'TOODHeadAdapter', 'Targets', 'VFNetHeadAdapter', 'YOLOXHeadAdapter',
    'adapter_of', 'class_counts', 'default_tap', 'dense_head', 'record'
]
