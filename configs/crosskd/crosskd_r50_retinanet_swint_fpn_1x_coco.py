_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../_base_/crosskd_retina.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

# mmdet publishes no weights for this teacher: train its config first.
model = dict(
    type='CrossKDRetinaNet',
    neck=dict(add_extra_convs='on_output'),  # the teacher has 'on_input'
    teacher_config='mmdet::swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py',
    teacher_ckpt='work_dirs/retinanet_swin-t-p4-w7_fpn_1x_coco/epoch_12.pth',
    kd_cfg=_base_.recipe)
