_base_ = [
    'mmdet::paa/paa_r50_fpn_1x_coco.py',
    '../_base_/crosskd_paa.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='CrossKDSingleStageDetector',
    teacher_config='mmdet::paa/paa_r101_fpn_1x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/paa/paa_r101_fpn_1x_coco/'
        'paa_r101_fpn_1x_coco_20200821-0a1825a4.pth'),
    kd_cfg=_base_.recipe)
