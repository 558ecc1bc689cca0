"""The study of a student of half the teacher's channels."""
import re

import pytest
import torch
from mmengine.config import Config

from crosskd.checkpoints.beside import state_beside
from crosskd.demo import adapter_study, stages, study
from helpers import build

STUDENTS = (adapter_study.ALONE, adapter_study.PLAIN, adapter_study.CROSSKD)


def model(variant, tmp_path):
    """A student as its training begins."""
    changes = dict(variant.changes)
    if variant is not adapter_study.ALONE:
        changes['model.teacher_ckpt'] = 'random'
    run = stages.Run('x', variant.config, tmp_path, tmp_path, changes)
    built = build(run.cfg.model, seed=3)
    built.init_weights()
    return built


def test_all_students_begin_alike_and_one_has_adapters(tmp_path):
    alone, plain, crosskd = (model(v, tmp_path) for v in STUDENTS)
    for distilled in (plain, crosskd):
        weights = distilled.state_dict()
        assert weights.keys() == alone.state_dict().keys()
        for name, value in alone.state_dict().items():
            assert value.equal(weights[name]), name
    assert not state_beside(plain)
    shapes = {name.split('.', 2)[2]: tuple(value.shape)
              for name, value in state_beside(crosskd).items()}
    assert shapes == {f'{branch}.conv.{name}': shape
                      for branch in ('cls', 'reg') for name, shape in
                      (('weight', (32, 16, 1, 1)), ('bias', (32, )))}


def test_the_distilled_students_are_the_plain_one_but_for_distillation():
    alone, distilled = (
        Config.fromfile(stages.MIM / 'configs' / variant.config)
        for variant in (adapter_study.ALONE, adapter_study.CROSSKD))
    assert distilled.model.pop('type') == 'CrossKDGFL'
    assert alone.model.pop('type') == 'GFL'
    for key in ('teacher_config', 'teacher_ckpt', 'kd_cfg'):
        distilled.model.pop(key)
    for key in alone:
        assert distilled[key] == alone[key], key


def test_a_gain_is_taken_seed_by_seed():
    ahead, behind = (dict(detector=name, AP={0: first, 1: second})
                     for name, first, second in (('a', 30.5, 32.0),
                                                 ('b', 31.0, 29.0)))
    assert study.format_gain(ahead, behind) == (
        '| a − b | +1.2 ± 2.5 | -0.5, +3.0 |')
    for row in (ahead, behind):
        del row['AP'][1]
    assert study.format_gain(ahead, behind) == '| a − b | -0.5 | -0.5 |'


@pytest.mark.slow
def test_the_study_trains_adapters_and_prints_its_table(
        tmp_path, capsys, monkeypatch):
    for name, value in (('QUICK_EPOCHS', 1), ('QUICK_TRAIN', 16),
                        ('QUICK_VAL', 4)):
        monkeypatch.setattr(adapter_study, name, value)
    adapter_study.main(['--quick', '--dir', str(tmp_path), '--seeds', '4'])
    printed = capsys.readouterr().out
    rows = re.findall(r'^\| (.+?) \| [+-]?\d+\.\d \| [+-]?\d+\.\d \|$',
                      printed, re.M)
    names = [v.name for v in (adapter_study.TEACHER, *STUDENTS)]
    assert rows == names + [f'{names[3]} − {names[1]}',
                            f'{names[3]} − {names[2]}']
    results = tmp_path / 'work_dirs/adapters-quick/1_epochs'
    trained = {}
    for variant in STUDENTS:
        folder = results / re.sub(r'\W+', '_', variant.name) / 'seed4'
        log = next(folder.rglob('*.log')).read_text()
        assert ('16 channels and the teacher 32' in log) == (
            variant is adapter_study.CROSSKD)
        (file, ) = folder.rglob('epoch_1.pth')
        trained[variant.name] = torch.load(file, weights_only=False)
    alone, plain, crosskd = trained.values()
    assert 'distillation_state_dict' not in plain
    assert len(crosskd['distillation_state_dict']) == 4
    # an optimizer keeps a state of what it has stepped
    stepped = [len(file['optimizer']['state']) for file in (plain, crosskd)]
    assert stepped[1] == stepped[0] + 4
    assert alone['state_dict'].keys() == crosskd['state_dict'].keys()
