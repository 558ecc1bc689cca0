"""The teacher: GFL with a ResNet-18 of three eighths of the usual channels."""
_base_ = './shapes_detection.py'
model = dict(
    backbone=dict(base_channels=24), neck=dict(in_channels=[24, 48, 96, 192]))
