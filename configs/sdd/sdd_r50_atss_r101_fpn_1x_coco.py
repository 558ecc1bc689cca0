_base_ = [
    '../crosskd/crosskd_r50_atss_r101_fpn_1x_coco.py',
    '../_base_/sdd_coco.py'
]
model = dict(
    type='SDDSingleStageDetector',
    kd_cfg=dict(
        loss_cls_kd=None,
        loss_sdd=_base_.loss_sdd,
        sdd_regions=_base_.sdd_regions))
