_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/fgd.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
# for 24 epochs, as mmdet's other students of 2x
train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        begin=0,
        end=24,
        by_epoch=True,
        milestones=[16, 22],
        gamma=0.1)
]

model = dict(
    type='DistilledDetector',
    detector='GFL',
    teacher_config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/gfl/gfl_r101_fpn_mstrain_2x_coco/'
        'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth'),
    kd_cfg=dict(_base_.recipe, inherit=('neck', 'bbox_head')))
