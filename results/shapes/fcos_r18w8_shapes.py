"""The student alone, with the head of FCOS."""
_base_ = './fcos_r18w24_shapes.py'
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[8, 16, 32, 64]))
