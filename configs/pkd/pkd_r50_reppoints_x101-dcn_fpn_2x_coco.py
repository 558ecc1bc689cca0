_base_ = [
    'mmdet::reppoints/reppoints-moment_r50_fpn-gn_head-gn_2x_coco.py',
    '../_base_/pkd_dense.py', '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='DistilledDetector',
    detector='RepPointsDetector',
    teacher_config='mmdet::reppoints/reppoints-moment_x101-dconv-c3-c5_fpn-gn_head-gn_2x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/reppoints/reppoints_moment_x101_fpn_dconv_c3-c5_gn-neck%2Bhead_2x_coco/'
        'reppoints_moment_x101_fpn_dconv_c3-c5_gn-neck%2Bhead_2x_coco_20200329-f87da1ea.pth'),
    kd_cfg=_base_.recipe)
