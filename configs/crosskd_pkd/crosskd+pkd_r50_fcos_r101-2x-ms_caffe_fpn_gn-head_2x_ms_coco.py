_base_ = '../crosskd/crosskd_r50_fcos_r101-2x-ms_caffe_fpn_gn-head_2x_ms_coco.py'
model = dict(
    kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=2.0)))
