"""A student without a teacher; neck and head have half the teacher's channels."""
_base_ = './gfl_r18w8_shapes.py'
model = dict(
    neck=dict(out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16))
