"""A teacher's checkpoint that its training has not written yet."""
import re

import pytest

from crosskd.teacher.untrained import check_trained

MODEL = "model = dict(type='GFL')\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with configs of teachers."""
    (tmp_path / 'run/own').mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'run')
    (tmp_path / 'run/teacher.py').write_text(MODEL)
    (tmp_path / 'run/own/teacher.py').write_text(
        f"{MODEL}work_dir = 'own/trained'\n")
    (tmp_path / 'run/own/other.py').write_text(MODEL)
    return tmp_path / 'run'


def said(ckpt, config, beside=None):
    with pytest.raises(FileNotFoundError) as error:
        check_trained(ckpt, config, beside)
    start = re.escape(f'teacher_ckpt={ckpt!r}: no such file (looked from /')
    return re.sub(f'^{start}.*?[)][.] ', '', str(error.value))


TRAIN = 'python -m crosskd train'


@pytest.mark.parametrize('ckpt, config, command', [
    ('work_dirs/teacher/epoch_12.pth', 'teacher.py', f'{TRAIN} teacher.py'),
    ('own/trained/epoch_12.pth', 'own/teacher.py',
     f'{TRAIN} own/teacher.py'),
    # where the train command would not write by itself
    ('own/work_dirs/other/last.pth', 'own/other.py',
     f'{TRAIN} own/other.py --work-dir own/work_dirs/other'),
    ('work_dirs/gfl_r18w8_shapes/epoch_1.pth',
     'crosskd::demo/gfl_r18w8_shapes.py',
     f'{TRAIN} crosskd::demo/gfl_r18w8_shapes.py')])
def test_train_the_teacher_first(ckpt, config, command):
    assert said(ckpt, config) == f'Train the teacher first: {command}'


def test_a_config_beside_the_students_is_named_by_its_path(folder):
    beside = folder / 'own'
    assert said('work_dirs/other/epoch_1.pth', 'other.py', beside) == (
        f'Train the teacher first: {TRAIN} {beside}/other.py')


def test_the_newest_checkpoint_is_named(folder):
    work_dir = folder / 'work_dirs/teacher'
    work_dir.mkdir(parents=True)
    for name in ('epoch_2.pth', 'epoch_10.pth', 'best.pth'):
        (work_dir / name).touch()

    def newest():
        return re.match("The newest checkpoint in that folder is '(.*)': name "
                        'it, or train the teacher to its end: python -m '
                        'crosskd train teacher.py --resume$',
                        said('work_dirs/teacher/epoch_12.pth', 'teacher.py')
                        )[1]

    assert newest() == 'epoch_10.pth'
    for last, name in (('/elsewhere/epoch_2.pth', 'epoch_2.pth'),
                       ('/elsewhere/gone.pth', 'epoch_10.pth')):
        (work_dir / 'last_checkpoint').write_text(last)
        assert newest() == name


@pytest.mark.parametrize('ckpt, config', [
    ('elsewhere/epoch_12.pth', 'teacher.py'),  # not of its training
    ('work_dirs/teacher/epoch_12.pth', 'gone.py'),
    ('work_dirs/teacher/epoch_12.pth', dict(model=dict(type='GFL'))),
    ('teacher.py', 'teacher.py')])  # there
def test_nothing_to_say(ckpt, config):
    check_trained(ckpt, config, None)
