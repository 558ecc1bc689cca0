"""A teacher that assigns labels by IoU: RetinaNet, nine anchors a location."""
_base_ = './gfl_mobilenetv2_teacher_aquarium.py'
model = dict(
    type='RetinaNet',
    bbox_head=dict(
        _delete_=True,
        type='RetinaHead',
        num_classes=7,
        in_channels=64,
        stacked_convs=4,
        feat_channels=64,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        # as in the demo, so that it learns with AdamW
        init_cfg=dict(
            type='Xavier',
            layer='Conv2d',
            override=[
                dict(
                    type='Normal',
                    name='retina_cls',
                    std=0.01,
                    bias_prob=0.01),
                dict(type='Normal', name='retina_reg', std=0.01)
            ])),
    train_cfg=dict(
        assigner=dict(
            _delete_=True,
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0,
            ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler')),
    test_cfg=dict(nms=dict(iou_threshold=0.5)))
