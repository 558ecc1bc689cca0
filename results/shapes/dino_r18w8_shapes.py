"""The transformer as student, alone."""
_base_ = './dino_r18w24_shapes.py'
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[16, 32, 64]))
