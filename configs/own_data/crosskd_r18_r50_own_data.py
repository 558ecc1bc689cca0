"""The student with CrossKD."""
_base_ = './gfl_r18_own_data.py'
custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
runner_type = 'DistillationRunner'
model = dict(
    type='CrossKDGFL',
    teacher_config='{{ fileDirname }}/gfl_r50_own_data.py',
    teacher_ckpt='work_dirs/gfl_r50_own_data/epoch_12.pth',
    kd_cfg=dict(
        loss_cls_kd=dict(
            type='KDQualityFocalLoss', beta=1, loss_weight=1.0),
        loss_reg_kd=dict(
            type='KnowledgeDistillationKLDivLoss',
            class_reduction='sum',
            T=1,
            loss_weight=4.0),
        reused_teacher_head_idx=3))
