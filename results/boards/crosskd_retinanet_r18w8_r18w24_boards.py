"""The student with CrossKD."""
_base_ = [
    './retinanet_r18w8_boards.py', 'crosskd::_base_/crosskd_retina.py',
    'crosskd::_base_/distillation.py'
]
model = dict(
    type='CrossKDRetinaNet',
    teacher_config='{{ fileDirname }}/retinanet_r18w24_boards.py',
    teacher_ckpt='to be named',
    kd_cfg=_base_.recipe)
