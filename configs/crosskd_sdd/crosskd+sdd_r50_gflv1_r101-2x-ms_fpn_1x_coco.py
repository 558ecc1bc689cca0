_base_ = [
    '../crosskd/crosskd_r50_gflv1_r101-2x-ms_fpn_1x_coco.py',
    '../_base_/sdd_coco.py'
]
model = dict(kd_cfg=_base_.crosskd_sdd)
