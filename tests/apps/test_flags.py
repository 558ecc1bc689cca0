"""Every flag of the train and test tools, on a config with COCO's samplers."""
import argparse
import pickle
import re
import runpy

import pytest
import torch
from downstream import child
from experiments import same_weights
from mmengine.config import DictAction
from tool_output import errors, written
from tool_server import run as tool

from crosskd.apps.commands import COMMANDS
from crosskd.apps.commands.flags import Changes
from crosskd.apps.commands.mmdet_tools import TOOLS

CONFIG = 'crosskd::crosskd/crosskd_r18_gflv1_r50_fpn_1x_coco.py'
# what the base config says of samplers and pipelines stays
SMALLER = '''
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    bbox_head=dict(num_classes=5, in_channels=32, feat_channels=32),
    test_cfg=dict(score_thr=0.0), teacher_config='teacher.py',
    teacher_ckpt='random')
train_pipeline = _base_.train_pipeline
train_pipeline[2]['scale'] = (256, 160)
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = (256, 160)
train_dataloader['dataset']['pipeline'] = train_pipeline
val_dataloader['dataset']['pipeline'] = test_pipeline
'''


@pytest.fixture(scope='module')
def folder(shapes_root, tmp_path_factory):
    """A config ``coco.py``, its teacher, and one training of two epochs."""
    folder = tmp_path_factory.mktemp('flags')
    (folder / 'coco.py').write_text(child(
        CONFIG, shapes_root / 'data/shapes', small=SMALLER))
    text = SMALLER.replace("teacher_config='teacher.py',", '')
    text = text.replace("teacher_ckpt='random'", '')
    (folder / 'teacher.py').write_text(
        "_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\n"
        + text[:text.index('train_pipeline')])
    out = tool('train.py', 'coco.py', '--auto-scale-lr', '--cfg-options',
               'train_cfg.max_epochs=2', 'randomness.seed=0', cwd=folder)
    # four images a step of sixteen
    assert 'LR is set based on batch size of 16 and the current batch ' \
        'size is 4. Scaling the original LR by 0.25' in out
    lr = re.search(r'base_lr: ([\d.e-]+)', out)
    assert lr is None or float(lr[1]) == 0.0025
    return folder


class Parsed(Exception):
    """The parser of a tool, in place of what it would parse."""


def parser_of(run, monkeypatch):

    def stop(parser, *args):
        raise Parsed(parser)

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
    with pytest.raises(Parsed) as found:
        run()
    return found.value.args[0]


@pytest.mark.parametrize('name', ['train', 'test'])
def test_the_flags_are_those_of_the_installed_mmdet(name, monkeypatch):
    """What is asked for, not how it is described."""

    def flags(run):
        return {a.dest: (sorted(a.option_strings), kinds.get(type(a), type(a)),
                         a.nargs, a.const, a.default, a.required, a.choices)
                for a in parser_of(run, monkeypatch)._actions}

    kinds = {Changes: DictAction}  # which imports mmengine when it is needed

    theirs = flags(runpy.run_path(str(TOOLS / f'{name}.py'))['parse_args'])
    assert len(theirs) > 8
    assert flags(lambda: COMMANDS[name].run([], name)) == theirs


def last(folder):
    return folder / 'work_dirs/coco/epoch_2.pth'


def train(folder, *args, **kwargs):
    return tool('train.py', 'coco.py', *args, '--cfg-options',
                'randomness.seed=0', cwd=folder, **kwargs)


def test_the_samplers_are_cocos(folder):
    text = (folder / 'work_dirs/coco/coco.py').read_text()
    assert "batch_sampler=dict(_scope_='mmdet', type='AspectRatioBatch" in (
        re.sub(r'\s+', ' ', text).replace('dict( ', 'dict('))


@pytest.mark.parametrize('how', ['the last', 'a path'])
def test_resume_with_and_without_a_path(folder, tmp_path, how):
    train(folder, '--auto-scale-lr', '--work-dir', tmp_path)
    path = [tmp_path / 'epoch_1.pth'] if how == 'a path' else []
    out = tool('train.py', 'coco.py', '--auto-scale-lr', '--work-dir',
               tmp_path, '--resume', *path, '--cfg-options',
               'train_cfg.max_epochs=2', 'randomness.seed=0', cwd=folder)
    assert 'resumed epoch: 1' in out
    assert same_weights(tmp_path / 'epoch_2.pth', last(folder))


def test_amp(folder, tmp_path):
    if torch.cuda.is_available():
        out = train(folder, '--amp', '--work-dir', tmp_path)
        assert 'loss_cls_kd' in out
        return
    out = train(folder, '--amp', '--work-dir', tmp_path, ok=False)
    said = errors(out)
    assert len(said) == 1 and "optim_wrapper.type='AmpOptimWrapper' (--amp)" \
        in said[0]
    assert not written(tmp_path)


def test_workers_that_cannot_be(folder, tmp_path):
    out = tool('train.py', 'coco.py', '--work-dir', tmp_path,
               '--cfg-options', 'val_dataloader.persistent_workers=True',
               cwd=folder, ok=False)
    assert 'ValueError: val_dataloader: persistent_workers' in errors(out)[0]
    assert not written(tmp_path)


def test_no_launcher(folder, tmp_path):
    train(folder, '--launcher', 'none', '--work-dir', tmp_path)
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_the_test_tool(folder, tmp_path):
    out = tool('test.py', 'coco.py', last(folder), '--work-dir', tmp_path,
               '--out', tmp_path / 'all.pkl', '--show-dir', 'drawn',
               '--wait-time', '0', '--launcher', 'none', '--cfg-options',
               'model.test_cfg.max_per_img=7', cwd=folder)
    assert 'bbox_mAP_copypaste' in out
    results = pickle.loads((tmp_path / 'all.pkl').read_bytes())
    assert len(results) == 6
    assert {len(r['pred_instances']['scores']) for r in results} == {7}
    assert len(list(tmp_path.glob('*/drawn/*.png'))) == 6


def test_test_time_augmentation(folder, tmp_path):
    out = tool('test.py', 'coco.py', last(folder), '--tta', '--work-dir',
               tmp_path, cwd=folder)
    assert 'bbox_mAP_copypaste' in out
