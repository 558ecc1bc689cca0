"""VFNet heads: as ATSS heads without a third output; of three layers."""
_base_ = './crosskd_retina.py'
recipe = dict(reused_teacher_head_idx=2)
