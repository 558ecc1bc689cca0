"""TOOD heads: as for RetinaNet heads, but the head is not split."""
_base_ = './crosskd_retina.py'
recipe = dict(reused_teacher_head_idx=0)
