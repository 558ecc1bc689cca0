"""VFNet heads: as for RetinaNet heads; the head has three layers."""
_base_ = './crosskd_retina.py'
recipe = dict(reused_teacher_head_idx=2)
