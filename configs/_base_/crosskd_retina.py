"""The CrossKD losses for RetinaNet heads, as in the CrossKD paper."""
recipe = dict(
    loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1, loss_weight=1.0),
    loss_reg_kd=dict(type='GIoULoss', loss_weight=1.0),
    reused_teacher_head_idx=3)
