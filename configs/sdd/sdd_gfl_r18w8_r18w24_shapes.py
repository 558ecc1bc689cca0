"""The demo's student with SDD."""
_base_ = [
    '../demo/crosskd_gfl_r18w8_r18w24_shapes.py', '../_base_/sdd.py'
]
model = dict(
    type='SDDSingleStageDetector',
    kd_cfg=dict(
        loss_cls_kd=None,
        loss_sdd=_base_.loss_sdd,
        sdd_regions=_base_.sdd_regions))
