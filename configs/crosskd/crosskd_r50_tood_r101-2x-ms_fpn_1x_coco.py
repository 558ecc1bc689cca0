_base_ = [
    'mmdet::tood/tood_r50_fpn_1x_coco.py',
    '../_base_/crosskd_tood.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='CrossKDSingleStageDetector',
    teacher_config='mmdet::tood/tood_r101_fpn_ms-2x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/tood/tood_r101_fpn_mstrain_2x_coco/'
        'tood_r101_fpn_mstrain_2x_coco_20211210_144232-a18f53c8.pth'),
    kd_cfg=_base_.recipe)
