"""BCKD: the student's own class scores and boxes imitate the teacher's."""
_base_ = './crosskd_retina.py'
recipe = dict(
    loss_reg_kd=dict(loss_weight=4.0),
    prediction='student',
    reused_teacher_head_idx=None)
