_base_ = [
    'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', '../_base_/cwd_rtmdet.py',
    '../_base_/distillation.py'
]
# mmdet's learning rate is for eight GPUs with 32 images each
auto_scale_lr = dict(enable=True, base_batch_size=256)

model = dict(
    type='DistilledDetector',
    detector='RTMDet',
    teacher_config='mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_s_8xb32-300e_coco/'
        'rtmdet_s_8xb32-300e_coco_20220905_161602-387a891e.pth'),
    kd_cfg=_base_.recipe)
