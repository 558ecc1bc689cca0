_base_ = '../crosskd/crosskd_r50_gflv1_r101-2x-ms_fpn_1x_coco.py'
model = dict(
    kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0)))
