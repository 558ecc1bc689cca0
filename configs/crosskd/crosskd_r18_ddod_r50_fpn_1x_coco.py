_base_ = ['mmdet::ddod/ddod_r50_fpn_1x_coco.py', '../_base_/distillation.py']
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
    kd_cfg=dict(
        loss_cls_kd=dict(
            type='KDQualityFocalLoss', beta=1, loss_weight=1.0),
        loss_reg_kd=dict(type='GIoULoss', loss_weight=1.0),
        loss_center_kd=dict(
            type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        reused_teacher_head_idx=3))
