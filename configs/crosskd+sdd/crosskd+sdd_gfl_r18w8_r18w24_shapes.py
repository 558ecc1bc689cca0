"""The demo's student with CrossKD and SDD."""
_base_ = '../demo/crosskd_gfl_r18w8_r18w24_shapes.py'
model = dict(
    kd_cfg=dict(
        loss_sdd=dict(type='SDDLoss', base='bernoulli', temperature=1.0)))
