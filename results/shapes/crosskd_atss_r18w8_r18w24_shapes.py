"""The student with CrossKD, with the head of ATSS."""
_base_ = './atss_r18w8_shapes.py'
custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
model = dict(
    type='CrossKDATSS',
    teacher_config='crosskd::demo/atss_r18w24_shapes.py',
    teacher_ckpt='to be named',
    kd_cfg=dict(
        loss_cls_kd=dict(
            type='KDQualityFocalLoss', beta=1, loss_weight=1.0),
        loss_reg_kd=dict(type='GIoULoss', loss_weight=1.0),
        loss_center_kd=dict(
            type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        reused_teacher_head_idx=3))
