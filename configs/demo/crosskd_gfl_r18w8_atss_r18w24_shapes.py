"""The student with CrossKD from an ATSS teacher, which predicts no bins."""
_base_ = ['./gfl_r18w8_shapes.py', '../_base_/distillation.py']
model = dict(
    type='CrossKDGFL',
    teacher_config='crosskd::demo/atss_r18w24_shapes.py',
    teacher_ckpt='work_dirs/atss_r18w24_shapes/epoch_12.pth',
    kd_cfg=dict(
        loss_cls_kd=dict(
            type='KDQualityFocalLoss', beta=1, loss_weight=1.0),
        loss_reg_kd=dict(type='GIoULoss', loss_weight=1.0),
        reused_teacher_head_idx=3))
