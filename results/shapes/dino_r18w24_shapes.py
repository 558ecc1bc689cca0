"""A transformer as teacher: a small DINO with the other detectors' levels."""
_base_ = 'crosskd::demo/gfl_r18w24_shapes.py'
width, levels = 256, 3  # mmdet's DINO embeds places in 256 numbers
attention = dict(embed_dims=width, num_heads=4, dropout=0.0)
deformable = dict(attention, num_levels=levels)
ffn = dict(embed_dims=width, feedforward_channels=64, ffn_drop=0.0)
model = dict(
    _delete_=True,
    type='DINO',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=dict(_base_.model.backbone, out_indices=(1, 2, 3)),
    neck=dict(
        type='ChannelMapper',
        in_channels=[48, 96, 192],
        kernel_size=1,
        out_channels=width,
        act_cfg=None,
        norm_cfg=dict(type='GN', num_groups=32),
        num_outs=levels),
    num_queries=60,
    with_box_refine=True,
    as_two_stage=True,
    num_feature_levels=levels,
    encoder=dict(
        num_layers=2,
        layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=attention, cross_attn_cfg=deformable, ffn_cfg=ffn),
        post_norm_cfg=None),
    positional_encoding=dict(
        num_feats=width // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type='DINOHead',
        num_classes=5,
        sync_cls_avg_factor=True,
        loss_cls=dict(
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0)),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=40)),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalLossCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0)
            ])),
    test_cfg=dict(max_per_img=60))
optim_wrapper = dict(
    optimizer=dict(lr=4e-4, weight_decay=1e-4), clip_grad=dict(max_norm=0.1))
