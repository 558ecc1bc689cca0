"""The teacher: GFL on a ResNet-18 of three eighths of the usual width."""
_base_ = './shapes_detection.py'
model = dict(
    backbone=dict(base_channels=24), neck=dict(in_channels=[24, 48, 96, 192]))
train_cfg = dict(max_epochs=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=8,
        begin=0,
        end=8,
        by_epoch=True,
        convert_to_iter_based=True)
]
