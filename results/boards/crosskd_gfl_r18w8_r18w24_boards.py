"""The student with CrossKD."""
_base_ = [
    './gfl_r18w8_boards.py', 'crosskd::_base_/crosskd_gfl.py',
    'crosskd::_base_/distillation.py'
]
model = dict(
    type='CrossKDGFL',
    teacher_config='{{ fileDirname }}/gfl_r18w24_boards.py',
    teacher_ckpt='to be named',
    kd_cfg=_base_.recipe)
