_base_ = [
    '../crosskd/crosskd_r50_fcos_r101-2x-ms_caffe_fpn_gn-head_2x_ms_coco.py',
    '../_base_/sdd_coco.py'
]
model = dict(kd_cfg=_base_.crosskd_sdd)
