_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py', '../_base_/fgd.py',
    '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))

model = dict(
    type='DistilledDetector',
    detector='RetinaNet',
    teacher_config='mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_x101_64x4d_fpn_1x_coco/'
        'retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth'),
    kd_cfg=dict(_base_.recipe, inherit=('neck', 'bbox_head')))
