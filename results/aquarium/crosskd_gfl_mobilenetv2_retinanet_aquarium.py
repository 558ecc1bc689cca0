"""The student with CrossKD from a RetinaNet with one anchor per location."""
_base_ = [
    './gfl_mobilenetv2_aquarium.py',
    'crosskd::_base_/crosskd_retina.py',
    'crosskd::_base_/distillation.py'
]
model = dict(
    type='CrossKDGFL',
    teacher_config='{{ fileDirname }}/'
    'retinanet_mobilenetv2_1anchor_teacher_aquarium.py',
    teacher_ckpt='to be named',
    kd_cfg=_base_.recipe)  # for boxes without bins
