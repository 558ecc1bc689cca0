"""A smaller student: half the channels in its neck and head."""
_base_ = './gfl_mobilenetv2_aquarium.py'
model = dict(
    neck=dict(out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32))
