"""The images of the circuit boards, in place of those of the demo."""
classes = ('open', 'short', 'mousebite', 'spur', 'copper', 'pin-hole')
_images = dict(
    data_root='data/boards/',
    metainfo=dict(classes=classes),
    data_prefix=dict(img='images/'))
_resize = dict(type='Resize', scale=(192, 192), keep_ratio=True)
boards = dict(
    train=dict(
        dataset=dict(
            ann_file='train.json',
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True), _resize,
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackDetInputs')
            ],
            **_images)),
    val=dict(
        dataset=dict(
            ann_file='val.json',
            pipeline=[
                dict(type='LoadImageFromFile'), _resize,
                dict(type='LoadAnnotations', with_bbox=True),
                dict(
                    type='PackDetInputs',
                    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                               'scale_factor'))
            ],
            **_images)),
    evaluator=dict(ann_file='data/boards/val.json'))
