"""What docs/results.md compares, and how its tables come about."""
import argparse
import contextlib
import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from families import quick_cases
from helpers import build
from mmdet.registry import MODELS
from pages import REPO

from crosskd.apps.demo import stages
from crosskd.pairs import dense_pass

RESULTS = REPO / 'results'
if not RESULTS.is_dir():  # a source distribution has none
    pytest.skip('no results/', allow_module_level=True)
sys.path.insert(0, str(RESULTS))
import matrix  # noqa: E402
import report  # noqa: E402
import run as results  # noqa: E402
import store  # noqa: E402

pytestmark = pytest.mark.torch_only

ALL = {each.name: each for some in matrix.DETECTORS.values() for each in some}
TABLES = [table for tables in matrix.TABLES.values() for table in tables]


@pytest.fixture(autouse=True)
def alignment(monkeypatch):
    """Put back what a config without the alignment replaces when it is read.
    """
    monkeypatch.setattr(dense_pass, 'align_statistics',
                        dense_pass.align_statistics)


@pytest.fixture(scope='session')
def mobilenet(tmp_path_factory):
    """A file with weights of a MobileNetV2."""
    file = tmp_path_factory.mktemp('weights') / 'mobilenet_v2.pth'
    torch.save(MODELS.build(dict(
        type='MobileNetV2', out_indices=(1, 2, 4, 6))).state_dict(), file)
    return file


def cfg(detector, weights):
    changes = dict(detector.changes)
    if detector.teacher:
        changes['model.teacher_ckpt'] = 'random'
    run = stages.Run('x', detector.config, REPO, REPO, changes)
    if run.cfg.model.backbone.get('init_cfg'):
        changes['model.backbone.init_cfg.checkpoint'] = str(weights)
    return run.cfg


def test_names_are_unique_and_tables_use_them():
    assert len(ALL) == sum(map(len, matrix.DETECTORS.values()))
    for table in TABLES:
        assert ALL.keys() >= set(table.rows)
        assert table.alone in table.rows
        assert not ALL[table.alone].teacher
    for each in ALL.values():
        assert each.teacher is None or ALL[each.teacher].is_teacher


def test_no_change_of_a_config_is_a_path_of_one_machine():
    """The records name the changes."""
    for each in ALL.values():
        assert not any(Path(str(value)).is_absolute()
                       for value in each.changes.values()), each.name


@pytest.mark.parametrize(
    'table', quick_cases(
        [each for each in TABLES if each.name == 'GFL'], TABLES),
    ids=lambda table: table.name)
def test_students_of_a_table_differ_in_distillation_alone(table, mobilenet):
    """And begin with the same weights, so that seeds are pairs.

    Those that inherit weights of their teacher begin with these.
    """
    plain = cfg(ALL[table.alone], mobilenet)
    begun = built(plain)
    students = [ALL[name] for name in table.rows if ALL[name].teacher]
    assert students
    for student in students:
        changed = cfg(student, mobilenet)
        weights = built(changed)
        assert weights.keys() == begun.keys()
        inherits = 'inherit' in changed.model.kd_cfg
        assert inherits != all(value.equal(weights[name])
                               for name, value in begun.items()), student.name
        for key in ('teacher_config', 'teacher_ckpt', 'kd_cfg', 'type',
                    'detector'):
            changed.model.pop(key, None)
        expected = {key: value for key, value in plain.items()
                    if key != 'custom_imports'}
        expected['model'] = {key: value for key, value in plain.model.items()
                             if key != 'type'}
        assert {key: changed[key] for key in expected} == expected


def built(of):
    model = build(of.model, seed=3)
    model.init_weights()
    return model.state_dict()


def record(name, seed, ap, teacher=None):
    return dict(detector=name, seed=seed, teacher=teacher, bbox_mAP=ap,
                bbox_mAP_50=50.0, bbox_mAP_75=20.0, bbox_mAP_s=-100.0,
                bbox_mAP_m=10.0, bbox_mAP_l=30.0, version='1', commit='abc',
                date=f'2026-01-0{seed + 1}', machine='M')


def of_seeds(name, *aps, teacher=None):
    return {seed: record(name, seed, ap, teacher)
            for seed, ap in enumerate(aps)}


MEASURED = dict(teacher=of_seeds('teacher', 40.0),
                alone=of_seeds('alone', 20.0, 22.0, 30.0),
                new=of_seeds('new', 21.0, 25.0, teacher='teacher'))


def test_a_table_has_means_and_gains_of_pairs():
    table = matrix.Table('t', 'alone', ('teacher', 'alone', 'new', 'not yet'))
    # without small objects, of which the images have none
    assert report.format_table(table, MEASURED).splitlines() == [
        '', '| detector | AP | AP50 | AP75 | medium | large '
        '| AP of each seed | gain |', '|---|---|---|---|---|---|---|---|',
        '| teacher | 40.0 | 50.0 | 20.0 | 10.0 | 30.0 | 40.0 | – |',
        '| alone | 24.0 ± 5.3 | 50.0 ± 0.0 | 20.0 ± 0.0 | 10.0 ± 0.0 '
        '| 30.0 ± 0.0 | 20.0, 22.0, 30.0 | – |',
        # gained by the seeds that both have
        '| new | 23.0 ± 2.8 | 50.0 ± 0.0 | 20.0 ± 0.0 | 10.0 ± 0.0 '
        '| 30.0 ± 0.0 | 21.0, 25.0 | +2.0 ± 1.4 |']
    assert report.format_table(table, {}) == '\nNot measured yet.\n'


def test_the_first_table_has_gains_over_the_student_alone():
    row = matrix.Comparison('shapes', 'small', 'alone', 'teacher',
                            {'CrossKD': 'new', 'PKD': 'not yet'})
    lines = report.format_summary([row], dict(shapes=MEASURED)).splitlines()
    assert lines[-1].replace(report.NO_BREAK, ' ') == (
        '| small | 24.0 | – | – | – | +2.0 ± 1.4 | – | 40.0 |')


def test_time_is_drawn_of_the_students_that_are_measured(tmp_path):
    minutes = {'small: alone': 1.0, 'small: CrossKD': 1.5,
               'other: alone': 1.0}
    report.draw_time({}, minutes, tmp_path / 'none.png')
    assert not list(tmp_path.iterdir())
    curves = {
        name: {seed: dict(AP_curve=[[4, 10.0 + seed], [8, 20.0]])
               for seed in (0, 1)}
        for name in ('small: alone', 'small: CrossKD',
                     'small, 36 epochs: alone')}
    assert report.curve(curves, 'small: alone') == [(4, 10.5), (8, 20.0)]
    assert report.curve(curves, 'other: alone') == []
    report.draw_time(dict(photographs=curves), minutes, tmp_path / 'time.png')
    assert (tmp_path / 'time.png').stat().st_size > 10000


def test_what_it_was_measured_with_is_said_once():
    assert report.measured_with(dict(a=MEASURED, b=MEASURED)) == [
        'Seeds 0, 1, 2; crosskd 1; M.']


def test_the_first_table_compares_a_student_with_itself():
    """Each row's students are taught by its teacher, if by any."""
    for row in matrix.SUMMARY:
        names = {each.name: each for each in matrix.DETECTORS[row.images]}
        assert names[row.alone].teacher is None
        assert not names[row.alone].is_teacher
        assert row.methods.keys() <= set(matrix.METHODS)
        assert {names[name].teacher
                for name in row.methods.values()} == {row.teacher}


def test_the_page_is_what_the_records_say(tmp_path):
    page = tmp_path / 'results.md'
    (tmp_path / 'results').mkdir()
    page.write_text(report.PAGE.read_text())
    report.write_report(RESULTS / 'records', page)
    assert page.read_text() == report.PAGE.read_text()
    named = re.findall('<!-- table: (.+) -->', page.read_text())
    assert sorted(named) == sorted([
        'summary', 'measured with', *(
            table.name for what, tables in matrix.TABLES.items()
            for table in tables if table.alone in store.read(
                RESULTS / f'records/{what}.jsonl'))])
    for what in matrix.TABLES:
        names = {each.name for each in matrix.DETECTORS[what]}
        assert store.read(RESULTS / f'records/{what}.jsonl').keys() <= names


def test_a_line_is_a_training_and_they_are_in_order(tmp_path):
    for what, count in dict(shapes=110, photographs=16, features=58).items():
        text = (RESULTS / f'records/{what}.jsonl').read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        order = [(line['detector'], line['seed']) for line in lines]
        assert len(set(order)) == count and order == sorted(order)
        # and adding one changes no other
        file = tmp_path / f'{what}.jsonl'
        file.write_text(text)
        store.add(file, lines[3])
        assert file.read_text() == text


def test_trainings_that_end_at_once_are_all_recorded(tmp_path, monkeypatch):
    """Also where each begins to write when all others have read."""
    file = tmp_path / 'records/shapes.jsonl'
    read, others = store.read, threading.Barrier(8)

    def slowly(*args):
        found = read(*args)
        with contextlib.suppress(threading.BrokenBarrierError):
            others.wait(0.02)
        return found

    monkeypatch.setattr(store, 'read', slowly)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: store.add(file, record('x', seed, 1.0)),
                      range(8)))
    assert set(read(file)['x']) == set(range(8))


def test_a_run_that_is_stopped_leaves_no_half_line(tmp_path, monkeypatch):
    file = tmp_path / 'shapes.jsonl'
    store.add(file, record('x', 0, 1.0))
    before = file.read_text()

    def stopped(self, text):
        with self.open('w') as out:
            out.write(text[:len(text) // 3])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'write_text', stopped)
        with pytest.raises(KeyboardInterrupt):
            store.add(file, record('x', 1, 1.0))
    assert file.read_text() == before
    store.add(file, record('x', 1, 1.0))
    assert set(store.read(file)['x']) == {0, 1}


def options(what, folder, **changes):
    return argparse.Namespace(**{
        **dict(what=what, records=folder, seeds=[0, 1], only=[''],
               cfg_options={}, weights=None, teacher=None), **changes})


def taught_by(students):
    return {job[2].changes.get('model.teacher_ckpt') for job in students
            if job[0].teacher}


def test_the_teacher_of_photographs_need_not_be_trained(tmp_path):
    args = options('photographs', tmp_path, weights='w.pth',
                   only=['random weights'])
    (teacher, ), students = results.plan(args, tmp_path)
    assert teacher[0].name == 'teacher' and len(students) == 10
    assert taught_by(students) == {str(teacher[2].checkpoint)}
    args.teacher = tmp_path / 't.pth'
    teachers, students = results.plan(args, tmp_path)
    assert not teachers and len(students) == 10
    assert taught_by(students) == {str(tmp_path / 't.pth')}
    # which is no teacher of another head
    args.only = ['RetinaNet, one anchor:']
    (other, ), students = results.plan(args, tmp_path)
    assert taught_by(students) == {str(other[2].checkpoint)}


def test_a_removed_line_is_measured_anew(tmp_path):
    lines = (RESULTS / 'records/photographs.jsonl').read_text().splitlines(
        keepends=True)
    args = options('photographs', tmp_path, weights='w.pth',
                   only=['random weights'])
    (tmp_path / 'photographs.jsonl').write_text(''.join(lines))
    assert results.plan(args, tmp_path) == ([], [])
    (tmp_path / 'photographs.jsonl').write_text(''.join(
        line for line in lines
        if '"random weights: CrossKD", "seed": 1' not in line))
    # its teacher has a line, and is needed none the less
    (teacher, ), (student, ) = results.plan(args, tmp_path)
    assert student[:2] == (ALL['random weights: CrossKD'], 1)
    assert taught_by([student]) == {str(teacher[2].checkpoint)}


@pytest.mark.parametrize('words, said', [
    (['shapes', '--teacher', __file__], '--teacher is that of photographs'),
    (['photographs', '--data', '.', '--weights', __file__, '--teacher',
      'no.pth'], '--teacher: no.pth is no file'),
    (['photographs', '--data', '.', '--weights', 'no.pth'],
     '--weights: no.pth is no file'),
    (['photographs', '--data', '.'], 'photographs need --weights'),
    (['boards'], 'boards need --data'),
])
def test_a_teacher_that_cannot_be_used_is_an_error(
        words, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['run.py', *words])
    with pytest.raises(SystemExit):
        results.main()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize('what', matrix.DETECTORS)
def test_a_training_that_is_stopped_keeps_a_checkpoint(what, tmp_path):
    """mmengine removes the oldest before it writes the next one."""
    args = options(what, tmp_path, seeds=[0], weights='w.pth')
    kept = {run.config_file: run.cfg.default_hooks.checkpoint.max_keep_ckpts
            for jobs in results.plan(args, tmp_path) for _, _, run in jobs}
    assert set(kept.values()) == {2}, kept


def run(folder):
    done = subprocess.run(
        [sys.executable, RESULTS / 'run.py', 'shapes', '--dir',
         folder / 'trained', '--records', folder / 'records', '--seeds', '4',
         '--only', 'GFL teacher', 'GFL CrossKD, split 2', '--jobs', '1',
         '--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
         'train_dataloader.dataset.indices=16',
         'val_dataloader.dataset.indices=8',
         'test_dataloader.dataset.indices=8', 'model.test_cfg.score_thr=0.0'],
        cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_matrix_is_trained_once(tmp_path):
    assert 'epoch 1' in run(tmp_path)
    file = tmp_path / 'records/shapes.jsonl'
    records = store.read(file)
    assert {name: set(seeds) for name, seeds in records.items()} == {
        'GFL teacher': {0}, 'GFL CrossKD, split 2': {4}}
    student = records['GFL CrossKD, split 2'][4]
    assert student['changes'] == {'model.kd_cfg.reused_teacher_head_idx': 2}
    assert student['losses']['last']['loss_cls_kd'] > 0
    assert student['epochs'] == 1 and len(student['AP_curve']) == 1
    assert str(tmp_path) not in json.dumps(student)
    checkpoint, = (tmp_path / 'trained').rglob('*split_2/**/epoch_1.pth')
    cfg = Path(next(checkpoint.parent.glob('*.py'))).read_text()
    assert 'GFL_teacher/seed0/gfl_r18w24_shapes/epoch_1.pth' in cfg
    # as if it had been stopped in its last validation
    before = file.read_text()
    file.write_text(''.join(line for line in file.open()
                            if 'split 2' not in line))
    scalars, = checkpoint.parent.glob('*/vis_data/scalars.json')
    scalars.write_text(''.join(line for line in scalars.open()
                               if 'bbox_mAP' not in line))
    assert 'epoch 1' not in run(tmp_path)
    assert file.read_text() == before
