"""Distillation losses: pure functions and the registered modules around them."""
from .kd_quality_focal_loss import KDQualityFocalLoss, kd_quality_focal_loss
from .kl_div_loss import KnowledgeDistillationKLDivLoss, kl_div_loss
from .pkd_loss import PKDLoss, pkd_loss

__all__ = [
    'KDQualityFocalLoss', 'KnowledgeDistillationKLDivLoss', 'PKDLoss',
    'kd_quality_focal_loss', 'kl_div_loss', 'pkd_loss'
]
