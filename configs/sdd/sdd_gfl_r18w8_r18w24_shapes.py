"""The demo's student with SDD."""
_base_ = '../demo/gfl_r18w8_shapes.py'
custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
model = dict(
    type='SDDSingleStageDetector',
    teacher_config='crosskd::demo/gfl_r18w24_shapes.py',
    teacher_ckpt='work_dirs/gfl_r18w24_shapes/epoch_8.pth',
    kd_cfg=dict(
        loss_sdd=dict(type='SDDLoss', base='bernoulli', temperature=1.0)))
