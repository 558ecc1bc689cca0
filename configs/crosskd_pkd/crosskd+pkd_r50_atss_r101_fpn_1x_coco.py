_base_ = '../crosskd/crosskd_r50_atss_r101_fpn_1x_coco.py'
model = dict(
    kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=1.0)))
