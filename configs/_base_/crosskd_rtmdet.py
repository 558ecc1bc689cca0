"""RTMDet heads: as ATSS heads without a third output; of two layers."""
_base_ = './crosskd_retina.py'
recipe = dict(reused_teacher_head_idx=1)
