"""The student without a teacher: GFL, ResNet-18 with an eighth of the channels."""
_base_ = './shapes_detection.py'
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[8, 16, 32, 64]))
