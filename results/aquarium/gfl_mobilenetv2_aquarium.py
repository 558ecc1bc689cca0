"""GFL on a MobileNetV2 that was trained on ImageNet: the student alone.

``model.backbone.init_cfg.checkpoint`` is to be named.
"""
_base_ = './aquarium_detection.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 6),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='mobilenet_v2.pth')),
    neck=dict(in_channels=[24, 32, 96, 320]))
optim_wrapper = dict(
    # its features are good already
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
