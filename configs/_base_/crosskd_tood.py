"""TOOD heads: as ATSS heads without a third output; taken as a whole."""
_base_ = './crosskd_retina.py'
recipe = dict(reused_teacher_head_idx=0)
