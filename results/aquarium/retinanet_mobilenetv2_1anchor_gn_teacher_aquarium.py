"""That teacher with normalization layers in its head, as GFL has them."""
_base_ = './retinanet_mobilenetv2_1anchor_teacher_aquarium.py'
model = dict(
    bbox_head=dict(
        norm_cfg=dict(type='GN', num_groups=32, requires_grad=True)))
