"""The student alone: an eighth of the usual channels in its backbone."""
_base_ = './gfl_r18w24_boards.py'
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[8, 16, 32, 64]))
