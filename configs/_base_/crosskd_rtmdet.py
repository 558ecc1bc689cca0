"""RTMDet heads: as for RetinaNet heads; the head has two layers."""
_base_ = './crosskd_retina.py'
recipe = dict(reused_teacher_head_idx=1)
