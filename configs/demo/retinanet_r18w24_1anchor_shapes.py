"""The RetinaNet teacher with one anchor per location, like the student."""
_base_ = './retinanet_r18w24_shapes.py'
model = dict(
    bbox_head=dict(
        anchor_generator=dict(scales_per_octave=1, ratios=[1.0])))
