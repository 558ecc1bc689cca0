"""Our configs in other projects: inherited, in scopes of their own."""
import re
import textwrap
from pathlib import Path

import pytest
from downstream import PACKAGE, PIPELINES, SMALL, child, make_project
from experiments import model_cfg
from families import FAMILY, quick_cases
from helpers import plain_cfg
from processes import python
from tool_output import metrics
from tool_server import run as tool

from conftest import REPO
from crosskd.compat.mmcv_ext import is_installed

CONFIGS = sorted(
    p.relative_to(REPO / 'configs').as_posix()
    for p in (REPO / 'configs').rglob('*.py')
    if p.parent.name != '_base_'
    and p.stem != 'shapes_detection'  # a base without a backbone's width
    and 'yolox' not in p.stem)  # whose data are mixed: test_yolox.py
ONE_OF_EACH_FOLDER = [*{Path(c).parent: c for c in CONFIGS}.values()]
# test_configs.py takes a step of each of the others
INHERITED = sorted({*ONE_OF_EACH_FOLDER,
                    *(c for c in CONFIGS if c.startswith('crosskd/'))})
SMALL_CSPNEXT = SMALL.replace(
    'depth=18, base_channels=8', 'deepen_factor=0.167, widen_factor=0.125'
).replace('[8, 16, 32, 64]', '[32, 64, 128], num_csp_blocks=1')
TEACHERS = dict(
    gflv1='mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    retinanet='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    atss='mmdet::atss/atss_r50_fpn_1x_coco.py',
    fcos='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
    paa='mmdet::paa/paa_r50_fpn_1x_coco.py',
    ddod='mmdet::ddod/ddod_r50_fpn_1x_coco.py',
    vfnet='mmdet::vfnet/vfnet_r50_fpn_1x_coco.py',
    tood='mmdet::tood/tood_r50_fpn_1x_coco.py',
    rtmdet='mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py')
# deformable convolutions take no maps as small as the last of these images
CHANGES = dict(
    ddod="model['bbox_head']['use_dcn'] = False\n",
    # mmengine's hook looks for it in the project's scope, without crosskd too
    rtmdet="custom_hooks = [dict(type='EMAHook', "
    "ema_type='mmdet.ExpMomentumEMA', update_buffers=True)]\n")


def small(name):
    """What shrinks a model of that family."""
    return SMALL_CSPNEXT if 'rtmdet' in name else SMALL


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A project's folder, with small teachers of all families."""
    folder = tmp_path_factory.mktemp('project')
    make_project(folder)
    for name, base in {**TEACHERS, 'own_data': TEACHERS['gflv1']}.items():
        (folder / f'teacher_{name}.py').write_text(
            f'_base_ = {base!r}\n{small(name)}{CHANGES.get(name, "")}')
    return folder


def of_a_teacher(config):
    """Changes for a config that names a teacher: a small one."""
    if not re.search('crosskd|sdd|^(bckd|cwd|fgd|mgd|pkd)/', config):
        return ''
    if 'shapes' in config:  # the demo's own is small
        return "model = dict(teacher_ckpt='random')"
    family = next(f for f in (*TEACHERS, 'own_data') if f in config)
    return CHANGES.get(family, '') + (
        f"model.update(teacher_config='teacher_{family}.py', "
        "teacher_ckpt='random')")


@pytest.mark.parametrize('config, scope', quick_cases(
    [(config, PACKAGE) for config in ONE_OF_EACH_FOLDER],
    [(config, PACKAGE) for config in INHERITED] + [
        (config, None) for config in ONE_OF_EACH_FOLDER]))
def test_a_child_of_a_config_trains(shapes_root, folder, tmp_path, config,
                                        scope):
    if is_installed() and any(
            row.compiled_in_mmdet and row.name in config
            for row in FAMILY.values()):
        pytest.skip('needs compiled ops of mmcv')
    name = f'{Path(config).stem}_{scope}.py'
    shrunk = '' if 'shapes' in config else small(config) + PIPELINES
    (folder / name).write_text(child(
        f'crosskd::{config}', shapes_root / 'data/shapes', scope,
        of_a_teacher(config), small=shrunk))
    out = tool('train.py', name, '--work-dir', tmp_path, cwd=folder,
               env=dict(PYTHONPATH=str(folder)))
    assert re.search(r'Epoch\(train\) +\[1\]\[3/3\]', out)
    assert ('_kd' in out or 'loss_sdd' in out) == bool(of_a_teacher(config))
    assert (tmp_path / 'epoch_1.pth').is_file()


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A copy of the package as an installation has it."""
    folder = tmp_path_factory.mktemp('site')
    python('setup.py', '-q', 'build', '--build-base', folder / 'base',
           '--build-lib', folder / 'lib', cwd=REPO)
    # mmengine asks an installation's metadata where it lies
    python('setup.py', '-q', 'egg_info', '--egg-base', folder / 'lib',
           cwd=REPO)
    return folder / 'lib'


@pytest.mark.slow
@pytest.mark.parametrize('base', ['package', 'path'])
def test_a_project_downstream(shapes_root, installed, tmp_path, base):
    """crosskd installed; data set, hook and head registered elsewhere."""
    (tmp_path / 'my_project.py').write_text(textwrap.dedent('''
        from mmdet.datasets import CocoDataset
        from mmdet.models.dense_heads import GFLHead
        from mmdet.registry import DATASETS, HOOKS, MODELS
        from mmengine.hooks import Hook

        @DATASETS.register_module()
        class MyDataset(CocoDataset):
            METAINFO = dict(classes=('circle', 'square', 'triangle', 'star',
                                     'cross'))

        @HOOKS.register_module()
        class MyHook(Hook):
            def after_train(self, runner):
                runner.logger.info('my hook ran')

        @MODELS.register_module()
        class MyHead(GFLHead):
            def loss_by_feat(self, *args, **kwargs):
                losses = super().loss_by_feat(*args, **kwargs)
                losses['loss_mine'] = [0.5 * x for x in losses['loss_cls']]
                return losses
    '''))
    path = 'crosskd/crosskd_r18_gflv1_r50_fpn_1x_coco.py'
    parent = f'crosskd::{path}'
    if base == 'path':
        parent = f'{installed}/crosskd/.mim/configs/{path}'
    tools = installed / 'crosskd/.mim/tools'
    data = f'{shapes_root}/data/shapes/'
    (tmp_path / 'mine.py').write_text(textwrap.dedent(f'''
        _base_ = {parent!r}
        custom_imports = dict(
            imports=['crosskd', 'my_project'], allow_failed_imports=False)
        teacher = dict(
            _delete_=True, model={model_cfg(plain_cfg('gfl', 16))!r})
        teacher['model']['bbox_head'].update(in_channels=32, feat_channels=32)
        teacher['model']['neck'].update(
            out_channels=32, num_outs=5, add_extra_convs='on_output')
        teacher['model']['bbox_head']['anchor_generator']['strides'] = [
            8, 16, 32, 64, 128]
        model = dict(
            backbone=dict(base_channels=8, init_cfg=None),
            neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
            bbox_head=dict(type='MyHead', num_classes=5, in_channels=32,
                           feat_channels=32),
            test_cfg=dict(score_thr=0.0),
            teacher_config=teacher, teacher_ckpt='random',
            kd_cfg=dict(reused_teacher_head_idx=1,
                        loss_reg_kd=dict(
                            _delete_=True, type='GIoULoss')))
        train_dataloader = dict(num_workers=0, persistent_workers=False,
            dataset=dict(
                type='MyDataset', data_root={data!r}, ann_file='train.json',
                data_prefix=dict(img='train/')))
        val_dataloader = dict(num_workers=0, persistent_workers=False,
            dataset=dict(
                type='MyDataset', data_root={data!r}, ann_file='val.json',
                data_prefix=dict(img='val/')))
        test_dataloader = val_dataloader
        val_evaluator = dict(ann_file={data!r} + 'val.json')
        test_evaluator = val_evaluator
        train_pipeline = [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(160, 160), keep_ratio=True),
            dict(type='PackDetInputs')]
        train_dataloader['dataset']['pipeline'] = train_pipeline
        val_dataloader['dataset']['pipeline'] = [
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(160, 160), keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape',
                'scale_factor'))]
        train_cfg = dict(max_epochs=1)
        default_hooks = dict(logger=dict(interval=1))
        custom_hooks = [dict(type='MyHook')]
    '''))
    env = dict(PYTHONPATH=f'{installed}:{tmp_path}')
    out = python(tools / 'train.py', 'mine.py', cwd=tmp_path, env=env)
    assert 'my hook ran' in out
    assert re.search('loss_mine: .*loss_cls_kd: ', out)
    out = python(tools / 'test.py', 'mine.py',
                 tmp_path / 'work_dirs/mine/epoch_1.pth', cwd=tmp_path,
                 env=env)
    assert metrics(out)
