"""Losses with parameters and buffers of their own."""
from dataclasses import replace

import torch
from helpers import distiller_cfg
from mmdet.registry import MODELS
from torch import nn

from crosskd.losses import KDQualityFocalLoss, SDDLoss


@MODELS.register_module()
class LearnedLoss(KDQualityFocalLoss):
    """With a parameter that is learned and a buffer that counts."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        self.register_buffer('seen', torch.tensor(0))

    def forward(self, pred, *args, **kwargs):
        self.seen += 1
        return super().forward(pred * self.sharpness, *args, **kwargs)


@MODELS.register_module()
class LearnedSDD(SDDLoss):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def sums(self, maps, *args, **kwargs):
        return super().sums([
            replace(m, student=m.student * self.sharpness) for m in maps
        ], *args, **kwargs)


def learned():
    return distiller_cfg('gfl', loss_cls_kd=dict(type='LearnedLoss'))
