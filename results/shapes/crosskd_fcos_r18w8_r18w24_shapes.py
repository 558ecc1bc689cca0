"""The student with CrossKD, with the head of FCOS."""
_base_ = './fcos_r18w8_shapes.py'
custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
model = dict(
    type='CrossKDFCOS',
    teacher_config='{{ fileDirname }}/fcos_r18w24_shapes.py',
    teacher_ckpt='to be named',
    kd_cfg=dict(
        loss_cls_kd=dict(
            type='KDQualityFocalLoss', beta=1, loss_weight=0.4),
        loss_reg_kd=dict(type='IoULoss', loss_weight=0.75),
        reused_teacher_head_idx=2))
