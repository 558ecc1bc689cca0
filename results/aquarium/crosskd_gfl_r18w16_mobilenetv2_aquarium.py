"""The student with CrossKD."""
_base_ = './gfl_r18w16_aquarium.py'
custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
model = dict(
    type='CrossKDGFL',
    teacher_config='{{ fileDirname }}/gfl_mobilenetv2_teacher_aquarium.py',
    teacher_ckpt='to be named',
    kd_cfg=dict(
        loss_cls_kd=dict(
            type='KDQualityFocalLoss', beta=1, loss_weight=1.0),
        loss_reg_kd=dict(
            type='KnowledgeDistillationKLDivLoss',
            class_reduction='sum',
            T=1,
            loss_weight=4.0),
        reused_teacher_head_idx=3))
