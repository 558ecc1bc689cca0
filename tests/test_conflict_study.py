"""The study of teachers that assign otherwise."""
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from crosskd.demo import conflict_study, stages, study
from helpers import batch, build

TEACHERS = (conflict_study.ATSS, conflict_study.RETINA_1,
            conflict_study.RETINA_9)
STUDENTS = conflict_study.STUDENTS
DISTILLED = STUDENTS[1:]


def config(variant):
    return Config.fromfile(stages.MIM / 'configs' / variant.config)


def model(variant, tmp_path):
    """A student as its training begins."""
    changes = dict(variant.changes)
    if variant is not conflict_study.ALONE:
        changes['model.teacher_ckpt'] = 'random'
    run = stages.Run('x', variant.config, tmp_path, tmp_path, changes)
    built = build(run.cfg.model, seed=3)
    built.init_weights()
    return built


@pytest.mark.parametrize('student', DISTILLED, ids=lambda v: v.name)
def test_a_student_is_the_one_alone_but_for_distillation(student, tmp_path):
    alone, distilled = map(config, (conflict_study.ALONE, student))
    assert distilled.model.pop('type') == 'CrossKDGFL'
    assert alone.model.pop('type') == 'GFL'
    for key in ('teacher_config', 'teacher_ckpt', 'kd_cfg'):
        distilled.model.pop(key)
    for key in alone:
        assert distilled[key] == alone[key], key
    weights = model(student, tmp_path).state_dict()
    begun = model(conflict_study.ALONE, tmp_path).state_dict()
    assert weights.keys() == begun.keys()
    for name, value in begun.items():
        assert value.equal(weights[name]), name


@pytest.mark.parametrize('student', DISTILLED, ids=lambda v: v.name)
def test_a_student_is_taught_by_the_teacher_of_its_name(student):
    named = config(student).model
    assert Path(named.teacher_ckpt).name == (
        f'epoch_{config(student.teacher).max_epochs}.pth')
    assert named.teacher_config == f'crosskd::{student.teacher.config}'
    assert student.name.removesuffix(', not divided').endswith(
        student.teacher.name)
    assert named.kd_cfg == dict(
        loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1, loss_weight=1.0),
        loss_reg_kd=dict(type='GIoULoss', loss_weight=1.0),
        reused_teacher_head_idx=3)


@pytest.mark.parametrize('teacher, anchors', [*zip(TEACHERS, (1, 1, 9))],
                         ids=lambda v: getattr(v, 'name', v))
def test_a_teacher_differs_from_the_demos_in_head_and_assigner(
        teacher, anchors):
    cfg, demos = map(config, (teacher, study.Variant(
        'demo', 'demo/gfl_r18w24_shapes.py')))
    head = build(cfg.model).bbox_head
    assert head.num_base_priors == anchors
    assert head.prior_generator.strides == [(8, 8), (16, 16), (32, 32)]
    for key in ('backbone', 'neck', 'data_preprocessor'):
        assert cfg.model[key] == demos.model[key], key
    longer = {'max_epochs', 'param_scheduler', 'train_cfg'}
    for key in demos.keys() - longer - {'model'}:
        assert cfg[key] == demos[key], key
    warmup, cosine = demos.param_scheduler
    epochs = teacher.schedule * demos.max_epochs
    assert cfg.param_scheduler == [
        warmup, {**cosine, 'T_max': epochs, 'end': epochs}]
    assert cfg.train_cfg == {**demos.train_cfg, 'max_epochs': epochs}


def test_losses_that_are_not_divided_are_nine_times_as_large(tmp_path):
    inputs, samples = batch((2, 1), (96, 96))
    logs = []
    for variant in (conflict_study.CROSSKD_9_UNDIVIDED,
                    conflict_study.CROSSKD_9):
        built = model(variant, tmp_path)
        torch.manual_seed(1)  # of the teacher's random weights
        _, log = built.parse_losses(built.loss(inputs, samples))
        logs.append(log)
    for key in ('loss_cls_kd', 'loss_reg_kd'):
        assert logs[1][key].item() == pytest.approx(
            logs[0][key].item() / 9, rel=1e-4), key
    for key in ('loss_cls', 'loss_bbox', 'loss_dfl'):
        assert logs[1][key].equal(logs[0][key]), key


def test_every_student_of_a_study_gets_its_own_teacher(tmp_path, monkeypatch):
    calls = []

    def train(runs, threads):
        calls.append((list(runs), threads))
        for run in runs:
            run.work_dir.mkdir(parents=True)

    monkeypatch.setattr(stages, 'train', train)
    monkeypatch.setattr(study.os, 'cpu_count', lambda: 7)
    monkeypatch.setattr(stages, 'history', lambda run: [
        dict(lr=0.1, step=step, loss=loss, loss_cls_kd=loss / 2, time=1.0)
        for step, loss in ((20, 3.0), (40, 2.0), (60, 1.0))
    ] + [{'step': run.epochs, 'coco/bbox_mAP': 0.25}])
    rows = study.run_study(str(tmp_path), conflict_study.ATSS, STUDENTS, [0],
                           12, 12, 1, 1, conflict_study.SETTING)
    teachers, threads = calls[0]
    assert [run.name for run in teachers] == [t.name for t in TEACHERS]
    assert threads == 2
    assert len({run.work_dir for run in teachers}) == 3
    assert [run.epochs for run in teachers] == [12, 36, 36]
    found = {run.name: run.changes.get('model.teacher_ckpt')
             for runs, _ in calls[1:] for run in runs}
    wanted = {run.name: str(run.checkpoint) for run in teachers}
    for student in DISTILLED:
        assert (found[f'{student.name}, seed 0']
                == wanted[student.teacher.name]), student.name
    assert found[f'{conflict_study.ALONE.name}, seed 0'] is None
    assert [row['detector'] for row in rows] == [
        v.name for v in (*TEACHERS, *STUDENTS)]
    assert rows[-1]['losses'] == {
        0: dict(first=dict(loss=3.0, loss_cls_kd=1.5),
                last=dict(loss=1.0, loss_cls_kd=0.5))}


def test_losses_are_means_over_seeds_first_and_last():
    def row(name, *pairs):
        return dict(detector=name, losses={
            seed: {when: dict(loss_cls=value, grad_norm=2 * value, other=0)
                   for when, value in zip(('first', 'last'), pair)}
            for seed, pair in enumerate(pairs)})

    lines = conflict_study.format_losses(
        [row('a', (1.0, 0.5), (3.0, 0.25))]).splitlines()
    assert lines[1].split(' | ')[1:3] == ['loss_cls', 'loss_bbox']
    assert lines[3] == ('| a | 2 → 0.375 | – | – | – | – | 4 → 0.75 |')


@pytest.mark.slow
def test_the_study_trains_all_and_prints_its_tables(
        tmp_path, capsys, monkeypatch):
    for name, value in (('QUICK_EPOCHS', 1), ('QUICK_TRAIN', 16),
                        ('QUICK_VAL', 4)):
        monkeypatch.setattr(conflict_study, name, value)
    conflict_study.main(['--quick', '--dir', str(tmp_path), '--seeds', '4'])
    printed = capsys.readouterr().out
    rows = re.findall(r'^\| (.+?) \| [+-]?\d+\.\d \| [+-]?\d+\.\d \|$',
                      printed, re.M)
    assert rows == [v.name for v in (*TEACHERS, *STUDENTS)] + [
        f'{ahead.name} − {behind.name}'
        for ahead, behind in conflict_study.GAINS]
    results = tmp_path / 'work_dirs/conflict-quick/1_epochs'
    for row in json.loads((results / 'study.json').read_text())[3:]:
        (logged, ) = row['losses'].values()
        assert 'loss_cls' in logged['first']
        assert ('loss_reg_kd' in logged['last']) == (
            row['detector'] != conflict_study.ALONE.name)
    for student in DISTILLED:
        log = next((results / re.sub(r'\W+', '_', student.name)).rglob(
            '*.log')).read_text()
        teacher = stages.Run('x', student.teacher.config, tmp_path, tmp_path,
                             {}).config_file.stem
        epochs = student.teacher.schedule
        assert f'{teacher}/epoch_{epochs}.pth' in log
