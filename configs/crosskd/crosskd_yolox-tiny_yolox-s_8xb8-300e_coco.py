_base_ = [
    'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py',
    '../_base_/crosskd_yolox.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True)  # from mmdet: the learning rate is for 64 images

model = dict(
    type='CrossKDSingleStageDetector',
    teacher_config='mmdet::yolox/yolox_s_8xb8-300e_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/yolox/yolox_s_8x8_300e_coco/'
        'yolox_s_8x8_300e_coco_20211121_095711-4592a793.pth'),
    kd_cfg=_base_.recipe)
