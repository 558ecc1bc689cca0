"""The student with CrossKD."""
_base_ = [
    './gfl_mobilenetv2_aquarium.py', 'crosskd::_base_/crosskd_gfl.py',
    'crosskd::_base_/distillation.py'
]
model = dict(
    type='CrossKDGFL',
    teacher_config='{{ fileDirname }}/gfl_mobilenetv2_teacher_aquarium.py',
    teacher_ckpt='to be named',
    kd_cfg=_base_.recipe)
custom_hooks = [dict(type='LossSharesHook', gradient_interval=32)]
