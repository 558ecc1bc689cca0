_base_ = [
    'mmdet::yolox/yolox_m_8xb8-300e_coco.py', '../_base_/fgd.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True)

model = dict(
    type='DistilledDetector',
    detector='YOLOX',
    teacher_config='mmdet::yolox/yolox_l_8xb8-300e_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/yolox/yolox_l_8x8_300e_coco/'
        'yolox_l_8x8_300e_coco_20211126_140236-d3bd2b23.pth'),
    kd_cfg=_base_.recipe)
