"""Your data, and the teacher. Change the lines at the top."""
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'

data_root = 'data/own'  # with images/, train.json and val.json
classes = ('first', 'second')  # the categories of both files, in the same order
scale = (1333, 800)  # the longer and the shorter side of the resized images
# change these, too, if your files have other names
train_file, val_file = 'train.json', 'val.json'
train_images, val_images = 'images', 'images'

# a colour for each class; mmdet only has colours for the classes of COCO
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
        ann_file=train_file,
        data_prefix=dict(img=train_images),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file=val_file,
        data_prefix=dict(img=val_images),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/{val_file}')
test_evaluator = val_evaluator
