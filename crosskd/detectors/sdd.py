"""The SDD detector."""
from mmdet.registry import MODELS

from .base import DistilledSingleStageDetector


@MODELS.register_module()
class SDDSingleStageDetector(DistilledSingleStageDetector):
    """SDD (Wei et al., CVPR 2024, arXiv 2403.13512) on a dense head.

    The student's own classification logits are distilled region by region and
    scale by scale.  Arguments as those of
    :class:`DistilledSingleStageDetector`.
    """
    required: tuple[str, ...] = ('loss_sdd', )
    prediction = 'student'
