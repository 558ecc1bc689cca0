"""The demo's student, looked at while it learns: docs/watching.md."""
_base_ = '../../configs/demo/crosskd_gfl_r18w8_r18w24_shapes.py'
model = dict(
    teacher_ckpt='work_dirs/demo/seed0/gfl_r18w24_shapes/epoch_12.pth')
custom_hooks = [
    dict(type='DistillationVisualizationHook', images=2, interval=4),
    dict(type='LossSharesHook', gradient_interval=20),
]
