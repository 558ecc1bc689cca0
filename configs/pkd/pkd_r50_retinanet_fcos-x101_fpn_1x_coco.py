_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', '../_base_/pkd_dense.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='DistilledDetector',
    detector='RetinaNet',
    teacher_config='mmdet::fcos/fcos_x101-64x4d_fpn_gn-head_ms-640-800-2x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/fcos/fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x_coco/'
        'fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x_coco-ede514a8.pth'),
    kd_cfg=_base_.recipe)
