"""Your data, and the teacher on it: the three lines below are yours."""
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'

data_root = 'data/own/'  # with images/, train.json and val.json
classes = ('first', 'second')  # the names of your categories
scale = (1333, 800)  # the longer and the shorter side to train at

# mmdet has colours for the 80 classes of COCO; neighbours here differ, too
palette = [(37 * i % 256, 97 * i % 256, 173 * i % 256)
           for i in range(1, len(classes) + 1)]
metainfo = dict(classes=classes, palette=palette)
model = dict(bbox_head=dict(num_classes=len(classes)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor'))
]
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='train.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val.json',
        data_prefix=dict(img='images/'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator
