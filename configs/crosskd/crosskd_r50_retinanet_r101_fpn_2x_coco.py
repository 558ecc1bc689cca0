_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py',
    '../_base_/crosskd_retina.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='CrossKDRetinaNet',
    neck=dict(add_extra_convs='on_output'),  # the teacher has 'on_input'
    teacher_config='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/'
        'retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth'),
    kd_cfg=_base_.recipe)
