_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
    '../_base_/fgd_two_stage.py', '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))

model = dict(
    type='DistilledDetector',
    detector='FasterRCNN',
    teacher_config='mmdet::dcn/cascade-mask-rcnn_x101-32x4d-dconv-c3-c5_fpn_1x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/dcn/cascade_mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco/'
        'cascade_mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco-e75f90c8.pth'),
    kd_cfg=_base_.recipe)
