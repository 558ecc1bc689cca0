"""The registered detectors."""
from .crosskd import (
    CrossKDATSS,
    CrossKDFCOS,
    CrossKDGFL,
    CrossKDRetinaNet,
    CrossKDSingleStageDetector,
)
from .sdd import SDDSingleStageDetector

__all__ = [
    'CrossKDATSS', 'CrossKDFCOS', 'CrossKDGFL', 'CrossKDRetinaNet',
    'CrossKDSingleStageDetector', 'SDDSingleStageDetector'
]
