_base_ = [
    'mmdet::vfnet/vfnet_r50_fpn_1x_coco.py',
    '../_base_/crosskd_vfnet.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='CrossKDSingleStageDetector',
    teacher_config='mmdet::vfnet/vfnet_r101_fpn_1x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/vfnet/vfnet_r101_fpn_1x_coco/'
        'vfnet_r101_fpn_1x_coco_20201027pth-c831ece7.pth'),
    kd_cfg=_base_.recipe)
