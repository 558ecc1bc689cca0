"""Students of models that are no detectors, and a small transformer."""
import copy

import pytest
import torch
from any_detectors import plain
from families import FAMILY
from helpers import plain_cfg
from mmdet.registry import MODELS
from torch import nn

from crosskd.compat.timm_without_torchvision import import_timm

COSINE = dict(type='CosineFeatureLoss')
MEAN, STD = [10.0, 20.0, 30.0], [50.0, 60.0, 70.0]
PREFIX = 5  # a class token and four registers


@MODELS.register_module(force=True)
class PatchTokens(nn.Module):
    """Maps images to tokens, after others that belong to no patch."""

    def __init__(self, patch=14, width=12, prefix=PREFIX):
        super().__init__()
        self.patch_size = patch
        self.project = nn.Conv2d(3, width, patch, patch)
        self.first = nn.Parameter(torch.zeros(1, prefix, width))

    def forward(self, images):
        found = self.project(images).flatten(2).transpose(1, 2)
        return torch.cat([self.first.expand(len(found), -1, -1), found], 1)


def student(kind: str, teacher, ckpt='random', loss=COSINE, **kwargs) -> dict:
    """A plain detector that learns features from that ``teacher_config``."""
    cfg = plain_cfg(kind) if kind in FAMILY else plain(kind)
    cfg.update(type='DistilledDetector', detector=cfg['type'],
               teacher_config=teacher, teacher_ckpt=ckpt,
               kd_cfg=dict(loss_feat_kd=loss), **kwargs)
    return copy.deepcopy(cfg)


def need_timm():
    """timm itself; skips a test, or the rest of a file, if it is missing."""
    try:
        return import_timm()
    except ImportError as e:
        pytest.skip(f'timm cannot be imported: {e}', allow_module_level=True)
