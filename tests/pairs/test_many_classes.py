"""Drawing with more classes than COCO's palette has colours."""
import shutil

import numpy as np
import torch
from data_sets import content, saved
from helpers import build
from mmdet.apis import DetInferencer
from mmengine.config import Config
from tool_server import run as tool

from conftest import REPO

CLASSES = tuple(f'class {n}' for n in range(100))
SMALL = '''
_base_ = './gfl_r50_own_data.py'
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=8),
    bbox_head=dict(in_channels=8, feat_channels=8, stacked_convs=1,
                   norm_cfg=dict(type='GN', num_groups=4)),
    test_cfg=dict(score_thr=0.0, nms_pre=50, max_per_img=20))
default_hooks = dict(visualization=dict(score_thr=0.0))
'''


def own_data(folder):
    """The own-data configs, edited as README says, and a small heir."""
    shutil.copytree(REPO / 'configs/own_data', folder / 'my_configs')
    teacher = folder / 'my_configs/gfl_r50_own_data.py'
    text = teacher.read_text()
    for old, new in (("'data/own'", "'data/shapes'"),
                     ("('first', 'second')", repr(CLASSES)),
                     ('(1333, 800)', '(64, 64)'), ("'images'", "'val'")):
        assert old in text
        text = text.replace(old, new)
    teacher.write_text(text)
    small = folder / 'my_configs/small.py'
    small.write_text(SMALL)
    return small


def test_drawing_a_hundred_classes(shapes_root, monkeypatch, tmp_path):
    shutil.copytree(shapes_root / 'data', tmp_path / 'data')
    monkeypatch.chdir(tmp_path)
    file = content('val')
    file['categories'] = [dict(id=n, name=name)
                          for n, name in enumerate(CLASSES)]
    for n, one in enumerate(file['annotations']):
        one['category_id'] = 99 - n
    saved('val', file)
    config = own_data(tmp_path)
    cfg = Config.fromfile(config)
    colours = cfg.test_dataloader.dataset.metainfo.palette
    assert len(set(map(tuple, colours))) == 100
    assert np.abs(np.diff(np.array(colours), axis=0)).max(1).min() > 30
    model = build(cfg.model)
    model.bbox_head.gfl_cls.bias.data[90] = 9.  # what it predicts
    torch.save(dict(state_dict=model.state_dict(), meta=dict(
        dataset_meta=dict(classes=CLASSES))), 'small.pth')
    tool('test.py', config, 'small.pth', '--work-dir', 'work',
         '--show-dir', 'drawn', cwd=tmp_path)
    assert len(list(tmp_path.glob('work/*/drawn/*.png'))) == 6
    inferencer = DetInferencer(str(config), 'small.pth', device='cpu',
                               show_progress=False)
    found = inferencer('data/shapes/val/00000.png', out_dir='inferred',
                       pred_score_thr=0.0)
    assert 90 in found['predictions'][0]['labels']
    assert len(list(tmp_path.glob('inferred/vis/*'))) == 1
