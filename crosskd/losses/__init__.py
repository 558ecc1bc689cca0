"""Distillation losses: functions, and registered modules that call them."""
from .channel_wise_divergence import (
    ChannelWiseDivergence,
    channel_wise_divergence,
)
from .cosine_feature_loss import CosineFeatureLoss, cosine_feature_loss
from .feature_loss import FeatureLoss
from .fgd_loss import FGDLoss, fgd_loss
from .kd_quality_focal_loss import KDQualityFocalLoss, kd_quality_focal_loss
from .kl_div_loss import KnowledgeDistillationKLDivLoss, kl_div_loss
from .mgd_loss import MGDLoss, mgd_loss
from .pkd_loss import PKDLoss, pkd_loss
from .score_weighted_l2_loss import (
    ScoreWeightedL2Loss,
    score_weighted_l2_loss,
)
from .sdd_loss import SDDLoss, sdd_loss

__all__ = [
    'ChannelWiseDivergence', 'CosineFeatureLoss', 'FGDLoss', 'FeatureLoss',
    'KDQualityFocalLoss', 'KnowledgeDistillationKLDivLoss', 'MGDLoss',
    'PKDLoss', 'SDDLoss', 'ScoreWeightedL2Loss', 'channel_wise_divergence',
    'cosine_feature_loss', 'fgd_loss', 'kd_quality_focal_loss', 'kl_div_loss',
    'mgd_loss', 'pkd_loss', 'score_weighted_l2_loss', 'sdd_loss'
]
