_base_ = '../crosskd/crosskd_r50_retinanet_r101_fpn_2x_coco.py'
model = dict(
    kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=2.0)))
