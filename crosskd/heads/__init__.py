"""Head adapters: what distillation needs to know about each mmdet head.

One file per family; nothing else knows the names of a head's layers.
"""
from .anchor import AnchorHeadAdapter
from .atss import ATSSHeadAdapter
from .base import HeadAdapter
from .class_counts import class_counts
from .ddod import DDODHeadAdapter
from .fcos import FCOSHeadAdapter
from .finding_adapter import adapter_of, default_tap, dense_head
from .gfl import GFLHeadAdapter
from .level_pass import LevelPass
from .paa import PAAHeadAdapter
from .recorder import record
from .records import Geometry, HeadRecord, Targets
from .retina import RetinaHeadAdapter
from .rtmdet import RTMDetHeadAdapter
from .tood import TOODHeadAdapter
from .vfnet import VFNetHeadAdapter
from .yolox import YOLOXHeadAdapter

__all__ = [
    'ATSSHeadAdapter', 'AnchorHeadAdapter', 'DDODHeadAdapter',
    'FCOSHeadAdapter', 'GFLHeadAdapter', 'Geometry', 'HeadAdapter',
    'HeadRecord', 'LevelPass', 'PAAHeadAdapter', 'RTMDetHeadAdapter',
    'RetinaHeadAdapter', 'TOODHeadAdapter', 'Targets', 'VFNetHeadAdapter',
    'YOLOXHeadAdapter', 'adapter_of', 'class_counts', 'default_tap',
    'dense_head', 'record'
]
