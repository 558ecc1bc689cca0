_base_ = [
    'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
    '../_base_/crosskd_retina.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='CrossKDRetinaNet',
    neck=dict(add_extra_convs='on_output'),  # the teacher has 'on_input'
    teacher_config='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/'
        'retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth'),
    kd_cfg=_base_.recipe)
