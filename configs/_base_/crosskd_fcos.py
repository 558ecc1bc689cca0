"""The CrossKD losses for FCOS heads, as in the CrossKD paper."""
recipe = dict(
    loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1, loss_weight=0.4),
    loss_reg_kd=dict(type='IoULoss', loss_weight=0.75),
    reused_teacher_head_idx=2)
