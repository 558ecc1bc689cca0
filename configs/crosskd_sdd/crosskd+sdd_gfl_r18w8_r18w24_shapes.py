"""The demo's student with CrossKD and SDD."""
_base_ = [
    '../demo/crosskd_gfl_r18w8_r18w24_shapes.py', '../_base_/sdd.py'
]
model = dict(kd_cfg=_base_.crosskd_sdd)
