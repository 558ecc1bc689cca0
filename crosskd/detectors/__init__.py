"""The registered detectors."""
from .crosskd import (
    CrossKDATSS,
    CrossKDFCOS,
    CrossKDGFL,
    CrossKDRetinaNet,
    CrossKDRTMDet,
    CrossKDSingleStageDetector,
)
from .mixin import DistillationMixin
from .sdd import SDDSingleStageDetector
from .single_stage import DistilledSingleStageDetector

__all__ = [
    'CrossKDATSS', 'CrossKDFCOS', 'CrossKDGFL', 'CrossKDRTMDet',
    'CrossKDRetinaNet', 'CrossKDSingleStageDetector', 'DistillationMixin',
    'DistilledSingleStageDetector', 'SDDSingleStageDetector'
]
