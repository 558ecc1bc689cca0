_base_ = [
    '../crosskd/crosskd_r50_retinanet_r101_fpn_2x_coco.py',
    '../_base_/sdd_coco.py'
]
model = dict(kd_cfg=_base_.crosskd_sdd)
