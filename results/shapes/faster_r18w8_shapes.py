"""The two-stage student alone."""
_base_ = './faster_r18w24_shapes.py'
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[8, 16, 32, 64]))
