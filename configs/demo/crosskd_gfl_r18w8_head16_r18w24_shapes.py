"""The student with half the teacher's channels, with CrossKD.

A channel adapter is added automatically (``kd_cfg.adapter``).
"""
_base_ = './crosskd_gfl_r18w8_r18w24_shapes.py'
model = dict(
    neck=dict(out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16))
