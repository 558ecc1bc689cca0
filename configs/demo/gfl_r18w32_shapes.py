"""The teacher: GFL on a ResNet-18 of half the usual width."""
_base_ = ['./shapes_detection.py']
model = dict(
    backbone=dict(base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256]))
