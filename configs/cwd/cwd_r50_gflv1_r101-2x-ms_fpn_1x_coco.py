_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/distillation.py'
]
auto_scale_lr = dict(enable=True, base_batch_size=16)

model = dict(
    type='DistilledDetector',
    detector='GFL',
    teacher_config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
    teacher_ckpt=(
        'https://download.openmmlab.com/mmdetection/v2.0/gfl/gfl_r101_fpn_mstrain_2x_coco/'
        'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth'),
    kd_cfg=dict(distillers=[
        dict(
            type='FeatureDistiller',
            loss_feat_kd=dict(type='ChannelWiseDivergence', loss_weight=5.0),
            student='bbox_head.gfl_cls',
            teacher='bbox_head.gfl_cls')
    ]))
