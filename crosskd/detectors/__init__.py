"""The registered detectors."""
from .crosskd import (
    CrossKDATSS,
    CrossKDFCOS,
    CrossKDGFL,
    CrossKDRetinaNet,
    CrossKDRTMDet,
    CrossKDSingleStageDetector,
)
from .distilled_detector import build_distilled_detector, distilled_class
from .mixin import DistillationMixin
from .sdd import SDDSingleStageDetector
from .single_stage import DistilledSingleStageDetector

__all__ = [
    'CrossKDATSS', 'CrossKDFCOS', 'CrossKDGFL', 'CrossKDRTMDet',
    'CrossKDRetinaNet', 'CrossKDSingleStageDetector', 'DistillationMixin',
    'DistilledSingleStageDetector', 'SDDSingleStageDetector',
    'build_distilled_detector', 'distilled_class'
]
