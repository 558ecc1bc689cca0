"""The student alone: GFL on a ResNet-18 of an eighth of the usual width."""
_base_ = './shapes_detection.py'
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[8, 16, 32, 64]))
