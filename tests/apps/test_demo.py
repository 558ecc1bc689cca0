"""The demo's data set and its trainings; CI runs it as a whole."""
import json

import numpy as np
import pytest
from helpers import build
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from crosskd.apps.compare import logs
from crosskd.apps.demo import shapes, stages

pytestmark = pytest.mark.torch_only


def test_images_are_a_function_of_their_arguments(tmp_path):
    for folder in 'ab':
        shapes.generate(tmp_path / folder, 'train', 4, seed=1)
    shapes.generate(tmp_path / 'c', 'train', 4, seed=2)
    a, b, c = ((tmp_path / f / 'train/00002.png').read_bytes() for f in 'abc')
    assert a == b != c
    assert (tmp_path / 'a/train.json').read_text() == (
        tmp_path / 'b/train.json').read_text()
    shapes.generate(tmp_path / 'a', 'val', 3, seed=1)
    assert a != (tmp_path / 'a/val/00002.png').read_bytes()


def test_a_finished_split_is_kept_and_another_size_drawn_anew(tmp_path):
    file = shapes.generate(tmp_path, 'train', 3)
    (tmp_path / 'train/00000.png').write_bytes(b'mark')
    shapes.generate(tmp_path, 'train', 3)
    assert (tmp_path / 'train/00000.png').read_bytes() == b'mark'
    shapes.generate(tmp_path, 'train', 4)
    assert (tmp_path / 'train/00000.png').read_bytes() != b'mark'
    assert len(json.loads(file.read_text())['images']) == 4


def test_annotations_are_boxes_of_what_can_be_seen(tmp_path):
    file = shapes.generate(tmp_path, 'train', 60)
    areas, labels = [], []
    for a in json.loads(file.read_text())['annotations']:
        x, y, w, h = a['bbox']
        assert 0 <= x and 0 <= y and x + w <= 96 and y + h <= 96
        assert w > 1 and h > 1 and a['area'] == w * h
        areas.append(a['area'])
        labels.append(a['category_id'])
    assert set(labels) == set(range(1, len(shapes.CLASSES) + 1))
    areas = np.array(areas)
    assert (areas < 32**2).mean() > 0.2  # COCO's small and medium
    assert (areas > 32**2).mean() > 0.2
    dataset = CocoDataset(
        ann_file=str(file), data_prefix=dict(img=str(tmp_path / 'train')),
        metainfo=dict(classes=shapes.CLASSES), pipeline=[])
    assert len(dataset) == 60


@pytest.fixture
def run(tmp_path):
    """A run that was stopped in step 30 and resumed from step 20."""
    run = stages.Run('x', 'demo/gfl_r18w8_shapes.py', tmp_path,
                     tmp_path / 'results', {'train_cfg.max_epochs': 3})
    for session, steps in (('1', (10, 20, 30)), ('2', (30, 40))):
        file = run.work_dir / session / 'vis_data/scalars.json'
        file.parent.mkdir(parents=True)
        lines = [dict(lr=0.1, time=0.5, step=s) for s in steps]
        lines.append({'coco/bbox_mAP': float(session) / 10,
                      'step': int(session)})
        file.write_text('\n'.join(map(json.dumps, lines)))
    return run


def test_logs_of_a_resumed_run_count_once(run):
    entries = stages.history(run)
    steps = [e['step'] for e in entries if 'lr' in e]
    assert steps == [10, 20, 30, 40] and logs.step_time(entries) == 0.5
    assert stages.training_seconds(run) == pytest.approx(40 * 0.5)
    assert stages.ap_curve(run) == [(1, 0.1), (2, 0.2)]
    assert run.checkpoint.name == 'epoch_3.pth'
    assert run.options == ['--cfg-options', 'train_cfg.max_epochs=3']


def test_the_student_starts_alike_alone_and_distilled(shapes_root):
    alone, distilled = (
        Config.fromfile(stages.MIM / 'configs/demo' / f'{name}.py').model
        for name in ('gfl_r18w8_shapes', 'crosskd_gfl_r18w8_r18w24_shapes'))
    distilled.teacher_ckpt = 'random'
    weights = []
    for cfg in (alone, distilled):
        model = build(cfg, seed=3)
        model.init_weights()
        weights.append(model.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert value.equal(weights[1][name]), name
