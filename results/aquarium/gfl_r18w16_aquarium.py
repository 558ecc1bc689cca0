"""The student alone: GFL on a ResNet-18 of a quarter of the usual width."""
_base_ = './aquarium_detection.py'
model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128]))
