"""Distillation losses: functions, and registered modules that call them."""
from .cosine_feature_loss import CosineFeatureLoss, cosine_feature_loss
from .kd_quality_focal_loss import KDQualityFocalLoss, kd_quality_focal_loss
from .kl_div_loss import KnowledgeDistillationKLDivLoss, kl_div_loss
from .pkd_loss import PKDLoss, pkd_loss
from .sdd_loss import SDDLoss, sdd_loss

__all__ = [
    'CosineFeatureLoss', 'KDQualityFocalLoss',
    'KnowledgeDistillationKLDivLoss', 'PKDLoss', 'SDDLoss',
    'cosine_feature_loss', 'kd_quality_focal_loss', 'kl_div_loss', 'pkd_loss',
    'sdd_loss'
]
