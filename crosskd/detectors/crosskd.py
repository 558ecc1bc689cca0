"""CrossKD detectors."""
from mmdet.registry import MODELS

from ..heads import (
    ATSSHeadFamily,
    FCOSHeadFamily,
    GFLHeadFamily,
    RetinaHeadFamily,
)
from .base import DistilledSingleStageDetector


@MODELS.register_module()
class CrossKDSingleStageDetector(DistilledSingleStageDetector):
    """CrossKD (Wang et al., CVPR 2024, arXiv 2306.11369) on any dense head.

    Arguments as those of :class:`DistilledSingleStageDetector`.
    """
    required: tuple[str, ...] = ('loss_cls_kd', 'loss_reg_kd')
    prediction = 'cross_head'


@MODELS.register_module()
class CrossKDRetinaNet(CrossKDSingleStageDetector):
    """:class:`CrossKDSingleStageDetector` with a RetinaNet head."""
    family = RetinaHeadFamily


@MODELS.register_module()
class CrossKDGFL(CrossKDSingleStageDetector):
    """:class:`CrossKDSingleStageDetector` with a GFL head."""
    family = GFLHeadFamily


@MODELS.register_module()
class CrossKDATSS(CrossKDSingleStageDetector):
    """:class:`CrossKDSingleStageDetector` with an ATSS head."""
    family = ATSSHeadFamily


@MODELS.register_module()
class CrossKDFCOS(CrossKDSingleStageDetector):
    """:class:`CrossKDSingleStageDetector` with an FCOS head."""
    family = FCOSHeadFamily
