"""A relative ``teacher_config`` is looked up beside the student's config."""
import re
from pathlib import Path

import mmdet
import pytest
from experiments import experiment, model_cfg, write
from helpers import distiller_cfg, plain_cfg
from mmengine.config import Config
from mmengine.runner import Runner
from tool_server import run as tool

from crosskd.detectors import CrossKDGFL
from crosskd.errors import ConfigError


@pytest.fixture
def student(tmp_path, monkeypatch):
    """A config with its teacher's beside it, seen from another folder."""
    cfg = distiller_cfg('gfl')
    (tmp_path / 'beside').mkdir()
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    write(tmp_path / 'beside/teacher.py', cfg['teacher_config'])
    write(tmp_path / 'beside/student.py', experiment(
        dict(cfg, teacher_config='teacher.py'), epochs=1))
    return tmp_path / 'beside/student.py'


def run(cfg, folder):
    return Runner(cfg.model, str(folder / 'work'), default_scope='mmdet',
                  experiment_name=folder.name, log_level='ERROR',
                  cfg=cfg)


def test_mmengines_own_runner_tells_where_it_lies(student, tmp_path):
    """As in mmdet's train tool; without data there is nothing to check."""
    cfg = Config.fromfile(student)
    runner = run(cfg, tmp_path)
    assert type(runner.model) is CrossKDGFL
    assert runner.model.teacher.beside == student.parent
    runner.model.init_weights()
    assert runner.model.teacher.is_read


def test_without_a_file_it_is_looked_up_as_ever(student, tmp_path):
    cfg = Config(Config.fromfile(student).to_dict())
    runner = run(cfg, tmp_path)
    with pytest.raises(FileNotFoundError, match="teacher_config='teacher.py'"):
        runner.model.init_weights()


@pytest.mark.parametrize('change, said', [
    (dict(kd_config=dict()), "^model: unknown key 'kd_config', CrossKDGFL "
     "takes teacher_config, .*; did you mean 'kd_cfg'[?]$"),
    (dict(type='CrosKDGFL'), "^model.type='CrosKDGFL' is not in .*; did you "
     "mean 'CrossKDGFL'[?]$")])
def test_any_runner_names_the_key(student, tmp_path, change, said):
    cfg = Config.fromfile(student)
    cfg.model.update(change)
    with pytest.raises((TypeError, ValueError), match=said) as error:
        run(cfg, tmp_path)
    assert isinstance(error.value, ConfigError)


def test_a_plain_detectors_errors_are_mmengines(tmp_path):
    cfg = Config(dict(model=dict(type='NoSuchDetector')))
    with pytest.raises(KeyError, match='NoSuchDetector is not in'):
        run(cfg, tmp_path)


@pytest.mark.parametrize('train', [
    'train.py', Path(mmdet.__file__).parent / '.mim/tools/train.py'],
    ids=['ours', 'of mmdet'])
def test_a_training_that_is_started_elsewhere_finds_it(train, shapes_root):
    folder = shapes_root / 'configs_of_mine'
    folder.mkdir(exist_ok=True)
    write(folder / 'its_teacher.py', dict(model=model_cfg(plain_cfg('gfl'))))
    write(folder / 'student.py', experiment(model_cfg(dict(
        distiller_cfg('gfl'))) | dict(teacher_config='its_teacher.py'),
        epochs=1))
    out = tool(train, '--work-dir', 'work_dirs/elsewhere',
               'configs_of_mine/student.py', cwd=shapes_root)
    assert re.search(r'loss_cls_kd: [\d.]+ ', out)
