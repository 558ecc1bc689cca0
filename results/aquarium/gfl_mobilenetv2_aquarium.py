"""The teacher: GFL on a MobileNetV2 that was trained on ImageNet.

``model.backbone.init_cfg.checkpoint`` is to be named.
"""
_base_ = './aquarium_detection.py'
max_epochs = 36
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 6),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='mobilenet_v2.pth')),
    neck=dict(in_channels=[24, 32, 96, 320]))

# it is trained longer than the students, so it sees more of each image
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(
            type='RandomResize',
            scale=(320, 320),
            ratio_range=(0.75, 1.5),
            keep_ratio=True),
        dict(type='RandomCrop', crop_size=(320, 320)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs')
    ]))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(
    # its features are good already
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True)
]
