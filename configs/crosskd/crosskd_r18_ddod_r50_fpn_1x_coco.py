_base_ = [
    'mmdet::ddod/ddod_r50_fpn_1x_coco.py',
    '../_base_/crosskd_ddod.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='CrossKDSingleStageDetector',
    backbone=dict(
        depth=18,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
    teacher_config='mmdet::ddod/ddod_r50_fpn_1x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/ddod/ddod_r50_fpn_1x_coco/'
        'ddod_r50_fpn_1x_coco_20220523_223737-29b2fc67.pth'),
    kd_cfg=_base_.recipe)
