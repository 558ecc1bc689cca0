_base_ = [
    '../crosskd/crosskd_r50_retinanet_r101_fpn_2x_coco.py',
    '../_base_/sdd_coco.py'
]
model = dict(
    kd_cfg=dict(
        loss_sdd=_base_.loss_sdd,
        sdd_regions=_base_.crosskd_sdd_regions))
