"""YOLOX heads: as for RetinaNet heads, plus the objectness; the head has two layers."""
_base_ = './crosskd_retina.py'
recipe = dict(
    loss_obj_kd=dict(
        type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    reused_teacher_head_idx=1)
