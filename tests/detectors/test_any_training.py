"""Detectors of other kinds, through mmdet's own command-line tools."""
import json
import re

import pytest
import torch
from any_detectors import KINDS, of_kind, plain
from experiments import experiment, write
from tool_server import run as tool

from crosskd.apps.commands.mmdet_tools import TOOLS

TRAIN, TEST = (TOOLS / name for name in ('train.py', 'test.py'))
SIDES = dict(ssd=96)


@pytest.fixture
def with_masks(shapes_root):
    """The generated images, whose objects have masks: their boxes."""
    for split in ('train', 'val'):
        file = shapes_root / f'data/shapes/{split}.json'
        data = json.loads(file.read_text())
        for one in data['annotations']:
            x, y, w, h = one['bbox']
            one['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        file.with_name(f'{split}_masks.json').write_text(json.dumps(data))
    return shapes_root


def _masks(file):
    """That file with masks; validation and test share their settings."""
    return file.replace('_masks', '').replace('.json', '_masks.json')


def config(kind, model):
    """Two epochs of four steps, and their validation."""
    cfg = experiment(model, epochs=2)
    if 'teacher_config' in model:
        cfg['runner_type'] = 'DistillationRunner'
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = cfg[loader]['dataset']
        if kind == 'mask':
            dataset['ann_file'] = _masks(dataset['ann_file'])
        for step in dataset['pipeline']:
            if step['type'] == 'LoadAnnotations':
                step['with_mask'] = kind == 'mask'
            if step['type'] == 'Resize':
                step['scale'] = (SIDES.get(kind, 64), ) * 2
    if kind == 'mask':
        for key in ('val_evaluator', 'test_evaluator'):
            cfg[key].update(metric=['bbox', 'segm'],
                            ann_file=_masks(cfg[key]['ann_file']))
    return cfg


def states(file):
    """All weights of a checkpoint, by the part they are of."""
    saved = torch.load(file, weights_only=False)
    return {f'{part}: {key}': value for part, values in saved.items()
            if part.endswith('state_dict') for key, value in values.items()}


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_trained_stopped_resumed_and_tested(kind, with_masks, tmp_path):
    root = with_masks
    write(root / f'{kind}_kd.py', config(kind, of_kind(kind)))
    write(root / f'{kind}_plain.py', config(kind, plain(kind)))
    run = (TRAIN, f'{kind}_kd.py', '--work-dir')
    out = tool(*run, tmp_path / 'whole', cwd=root)
    assert re.search(r'loss_feat_kd: [\d.]+', out)
    tool(*run, tmp_path / 'parts', '--cfg-options', 'train_cfg.max_epochs=1',
         cwd=root)
    out = tool(*run, tmp_path / 'parts', '--resume', cwd=root)
    assert 'resumed epoch: 1' in out
    whole, parts = (states(tmp_path / name / 'epoch_2.pth')
                    for name in ('whole', 'parts'))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    first = states(tmp_path / 'whole/epoch_1.pth')
    assert any(not torch.equal(first[key], whole[key]) for key in whole)

    out = tool(TEST, f'{kind}_plain.py', tmp_path / 'whole/epoch_2.pth',
               '--work-dir', tmp_path / 'test', cwd=root)
    kinds = ['bbox', 'segm'] if kind == 'mask' else ['bbox']
    for name in kinds:
        assert re.search(rf'coco/{name}_mAP: -?[\d.]+', out), out[-2000:]
    assert 'unexpected key' not in out and 'missing keys' not in out
