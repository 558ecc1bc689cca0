"""The registered detectors."""
from .crosskd import (CrossKDATSS, CrossKDFCOS, CrossKDGFL, CrossKDRetinaNet,
                      CrossKDSingleStageDetector)

__all__ = [
    'CrossKDATSS', 'CrossKDFCOS', 'CrossKDGFL', 'CrossKDRetinaNet',
    'CrossKDSingleStageDetector'
]
