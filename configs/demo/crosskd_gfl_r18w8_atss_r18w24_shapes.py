"""The student with CrossKD from an ATSS teacher, which does not predict bins."""
_base_ = [
    './gfl_r18w8_shapes.py',
    '../_base_/crosskd_retina.py',
    '../_base_/distillation.py'
]
model = dict(
    type='CrossKDGFL',
    teacher_config='crosskd::demo/atss_r18w24_shapes.py',
    teacher_ckpt='work_dirs/atss_r18w24_shapes/epoch_12.pth',
    kd_cfg=_base_.recipe)  # for boxes without bins, and no centerness
