"""The RetinaNet teacher with one anchor per location, like the student."""
_base_ = './retinanet_mobilenetv2_teacher_aquarium.py'
model = dict(
    bbox_head=dict(
        anchor_generator=dict(scales_per_octave=1, ratios=[1.0])))
