"""The student with CrossKD."""
_base_ = [
    './gfl_r18w8_shapes.py',
    '../_base_/crosskd_gfl.py',
    '../_base_/distillation.py'
]
model = dict(
    type='CrossKDGFL',
    teacher_config='crosskd::demo/gfl_r18w24_shapes.py',
    teacher_ckpt='work_dirs/gfl_r18w24_shapes/epoch_12.pth',
    kd_cfg=_base_.recipe)
