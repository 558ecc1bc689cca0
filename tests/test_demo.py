"""The demo's data set and its reading of logs; CI runs it as a whole."""
import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset

from crosskd.demo import report, shapes, stages, study


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
        assert 0 <= x and 0 <= y and x + w <= 128 and y + h <= 128
        assert w > 1 and h > 1 and a['area'] == w * h
        areas.append(a['area'])
        labels.append(a['category_id'])
    assert set(labels) == set(range(1, len(shapes.CLASSES) + 1))
    areas = np.array(areas)
    assert (areas < 32**2).mean() > 0.2  # COCO's small, medium and large
    assert ((areas > 32**2) & (areas < 96**2)).mean() > 0.2
    assert (areas > 96**2).mean() > 0.02
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
    assert stages.training_seconds(run) == pytest.approx(40 * 0.5)
    assert stages.ap_curve(run) == [(1, 0.1), (2, 0.2)]
    assert run.checkpoint.name == 'epoch_3.pth'
    assert run.options == ['--cfg-options', 'train_cfg.max_epochs=3']


def test_table(run):
    metrics = {run.name: {key: 0.123 for key in report.COLUMNS.values()}}
    text = report.format_table(report.table([run], metrics, {run.name: 2}))
    assert '| x | 12.3 | 12.3 |' in text and '0.3 min on 2 thread(s)' in text
    rows = text.splitlines()
    assert len({row.count('|') for row in rows}) == 1 and len(rows) == 3


def test_a_failing_tool_shows_its_last_lines(run):
    run.changes['model.type'] = 'NoSuchDetector'
    with pytest.raises(RuntimeError, match='NoSuchDetector'):
        stages.train([run], threads=1)


@pytest.mark.slow
def test_study_trains_every_variant_and_reads_its_ap(tmp_path):
    changes = {'model.test_cfg.score_thr': 0.0}  # or nothing is detected yet
    plain = study.Variant('alone', 'demo/gfl_r18w8_shapes.py', changes)
    sdd = study.Variant('SDD (map)', 'sdd/sdd_gfl_r18w8_r18w24_shapes.py',
                        changes)
    teacher = study.Variant('teacher', 'demo/gfl_r18w24_shapes.py', changes)
    call = dict(folder=tmp_path, teacher=teacher, variants=[plain, sdd],
                seeds=[0, 1], epochs=1, teacher_epochs=1, num_train=8,
                num_val=4)
    rows = study.run_study(**call)
    assert [len(row['AP']) for row in rows] == [1, 2, 2]
    assert rows[0]['std'] is None and rows[1]['std'] is not None
    results = tmp_path / 'work_dirs/study/1_epochs'
    saved = json.loads((results / 'study.json').read_text())
    assert saved[2]['changes'] == changes
    assert (results / 'study.png').is_file()
    log = next((results / 'SDD_map_').rglob('*.log')).read_text()
    assert 'loss_sdd_map' in log
    trained = sorted(p.stat().st_mtime for p in results.rglob('*.pth'))
    assert study.run_study(**call) == rows  # and nothing is trained again
    assert trained == sorted(p.stat().st_mtime for p in results.rglob('*.pth'))
    assert '| SDD (map) |' in study.format_rows(rows)
