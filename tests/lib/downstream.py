"""A project of somebody else's that inherits our configs by package name."""
import textwrap

PACKAGE = 'myproject'
REGISTRY = '''
from mmengine.registry import DATASETS as _DATASETS
from mmengine.registry import HOOKS as _HOOKS
from mmengine.registry import MODELS as _MODELS
from mmengine.registry import Registry

MODELS = Registry('model', parent=_MODELS, locations=['myproject.parts'])
HOOKS = Registry('hook', parent=_HOOKS, locations=['myproject.parts'])
DATASETS = Registry('dataset', parent=_DATASETS,
                    locations=['myproject.parts'])
'''
PARTS = '''
from mmdet.datasets import CocoDataset
from mmdet.models.dense_heads import GFLHead
from mmengine.hooks import Hook

from .registry import DATASETS, HOOKS, MODELS


@MODELS.register_module()
class MyHead(GFLHead):
    pass


@DATASETS.register_module()
class MyDataset(CocoDataset):
    METAINFO = dict(classes=('circle', 'square', 'triangle', 'star', 'cross'))


@HOOKS.register_module()
class MyHook(Hook):
    def after_train(self, runner):
        runner.logger.info('my hook ran')
'''
SMALL = '''
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    bbox_head=dict(num_classes=5, in_channels=32, feat_channels=32))
'''
SMALL_TWO_STAGES = '''
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=32, num_classes=5)))
'''
# the data sets, samplers and evaluators are those of the base config
DATA = '''
data_root = {root!r}
classes = ('circle', 'square', 'triangle', 'star', 'cross')
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(
        data_root=data_root, metainfo=dict(classes=classes),
        ann_file='train.json', data_prefix=dict(img='train/')))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(
        data_root=data_root, metainfo=dict(classes=classes),
        ann_file='val.json', data_prefix=dict(img='val/')))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
'''
PIPELINES = '''
train_dataloader['dataset']['pipeline'] = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='mmdet.Resize', scale=(160, 160), keep_ratio=True),
    dict(type='mmdet.PackDetInputs')]
val_dataloader['dataset']['pipeline'] = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.Resize', scale=(160, 160), keep_ratio=True),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='mmdet.PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
'''


def make_project(folder):
    """A package with registries of its own, importable from ``folder``."""
    package = folder / PACKAGE
    package.mkdir()
    for name, text in (('__init__', ''), ('registry', REGISTRY),
                       ('parts', PARTS)):
        (package / f'{name}.py').write_text(text)


def child(base, root, scope=None, more='', small=SMALL + PIPELINES):
    """Text of a config that inherits ``base``, on the generated images.

    Args:
        base: such as ``'crosskd::crosskd/….py'``.
        root: folder with ``train.json`` and the rest.
        scope: the project's own, or None.
        more: text at the end.
        small: what shrinks model and images.
    """
    return '\n'.join([
        f'_base_ = {base!r}',
        f'default_scope = {scope!r}' if scope else '',
        DATA.format(root=f'{root}/'), small, textwrap.dedent(more)])
