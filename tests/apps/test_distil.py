"""``distil``: from a folder of configs to a compared student."""
import fcntl
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import torch
from experiments import same_weights

from conftest import REPO
from crosskd.apps.commands import main
from crosskd.apps.distil import checking, distil, trainings
from crosskd.apps.distil.folder import differences
from crosskd.apps.distil.lock import Taken, locked
from crosskd.apps.distil.log_lines import progress, reason
from crosskd.apps.distil.processes import Job, TrainingError, run
from crosskd.apps.distil.run import _point_to, train_on_this_machine
from crosskd.apps.distil.trainings import Training, train
from crosskd.errors import ConfigValueError

# -- lines of a log -----------------------------------------------------------

LINES = {
    '11/25 23:59:48 - mmengine - INFO - Epoch(train)  [2][20/40]  lr: 4.0e-03'
    '  eta: 0:05:12  time: 0.3951  data_time: 0.0118  loss: 1.5034  '
    'loss_cls: 0.4071': 'epoch 2, 20 of 40 steps, loss 1.50, 0:05:12 left',
    'INFO - Epoch(train)   [10][ 20/140]  base_lr: 4.0000e-03 lr: 4.0000e-03  '
    'eta: 1 day, 0:05:12  time: 0.3951  data_time: 0.0118  memory: 123  '
    'loss: 0.5034': 'epoch 10, 20 of 140 steps, loss 0.50, 1 day, 0:05:12 '
    'left',
    'INFO - Iter(train) [  50/9000]  lr: 4.0e-03  eta: 0:05:12  time: 0.3951  '
    'data_time: 0.0118  memory: 123  grad_norm: 3.1  loss: 0.5034':
    '50 of 9000 steps, loss 0.50, 0:05:12 left',
    'INFO - Epoch(train)  [2][20/40]  lr: 4.0e-03  eta: 0:05:12  time: 0.3951'
    '  data_time: 0.0118  loss: nan  loss_cls: nan':
    'epoch 2, 20 of 40 steps, loss nan, 0:05:12 left',
    'INFO - bbox_mAP_copypaste: 0.351 0.6 0.3 0.2 0.4 -1.000': 'AP 35.1',
    'INFO - bbox_mAP_copypaste: -1.000 -1.000': 'nothing detected yet',
    'ERROR - The testing results of the whole dataset is empty.':
    'nothing detected yet',
    '12/01 05:00:00 - mmengine - WARNING - its frozen layers never train':
    'warning: its frozen layers never train',
    'INFO - Saving checkpoint at 3 epochs': None,
    'INFO - Epoch(val) [1][20/40]    eta: 0:00:12  time: 0.1': None,
}


@pytest.mark.torch_only
@pytest.mark.parametrize('line, shown', LINES.items(), ids=str)
def test_progress_is_read_from_the_log(line, shown):
    assert progress(line) == shown


REFUSED = '''\
11/25 23:59:48 - mmengine - WARNING - "x" is not registered
/lib/mmengine/y.py:3: UserWarning: old
  warnings.warn(
ValueError: model.teacher_ckpt: no such file. It lies in none of these:
  work_dirs
'''
LAUNCHED = REFUSED + '''\
ValueError: model.teacher_ckpt: no such file. It lies in none of these:
  work_dirs
E1201 04:10:00.123000 12 torch/distributed/elastic/api.py:1] failed
Traceback (most recent call last):
  File "/lib/torch/distributed/run.py", line 2, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
'''


@pytest.mark.torch_only
@pytest.mark.parametrize('out', [REFUSED, LAUNCHED])
def test_a_refused_training_is_its_message_alone(out):
    assert reason(out.splitlines(keepends=True), 1) == (
        'ValueError: model.teacher_ckpt: no such file. It lies in none of '
        'these:\n  work_dirs')


@pytest.mark.torch_only
def test_a_defect_is_its_last_lines():
    lines = [f'line {i}\n' for i in range(30)]
    lines += ['Traceback (most recent call last):\n', 'KeyError: 3\n']
    assert reason(lines, 1) == (
        'failed with exit code 1. Its last lines:\n' +
        ''.join(lines[-20:]).rstrip())
    assert reason(['bad\n'], -11) == (
        'failed with exit code -11. Its last lines:\nbad')
    for killed in (-9, 137):
        assert reason(['line\n'], killed) == (
            'was killed, often because memory ran out. Run the same command '
            'again to continue.')


# -- what is finished ---------------------------------------------------------


def training(folder, meta=None, name='epoch_2.pth', **train_cfg):
    """A training and what it has left in its work directory."""
    file = folder / 'x.py'
    file.write_text(f'train_cfg = {train_cfg!r}\nmodel = dict(a=1)')
    made = Training('x', file, folder / 'work_dirs/x')
    if meta:
        made.work_dir.mkdir(parents=True)
        torch.save(dict(meta=meta, state_dict={}), made.work_dir / name)
        # where the folder was when it was trained
        (made.work_dir / 'last_checkpoint').write_text(f'/gone/x/{name}')
    return made


@pytest.mark.parametrize('train_cfg, meta, finished', [
    (dict(max_epochs=2), dict(epoch=2, iter=80), True),
    (dict(max_epochs=3), dict(epoch=2, iter=80), False),
    (dict(type='EpochBasedTrainLoop', max_epochs=1), dict(epoch=2, iter=80),
     True),
    (dict(type='IterBasedTrainLoop', max_iters=80), dict(epoch=0, iter=80),
     True),
    (dict(by_epoch=False, max_iters=81), dict(epoch=0, iter=80), False),
    (dict(type='Another'), dict(epoch=2, iter=80), False),
    (dict(max_epochs=2), None, False),
])
def test_a_training_is_finished_by_its_own_limit(tmp_path, train_cfg, meta,
                                                 finished):
    assert training(tmp_path, meta, **train_cfg).is_finished == finished


def test_the_last_checkpoint_is_the_one_that_was_noted(tmp_path):
    """Only when it is whole does mmengine note a checkpoint."""
    made = training(tmp_path, dict(epoch=1, iter=40), 'epoch_1.pth',
                    max_epochs=2)
    half = made.work_dir / 'epoch_2.pth'
    half.write_bytes((made.work_dir / 'epoch_1.pth').read_bytes()[:100])
    assert made.last_checkpoint == made.work_dir / 'epoch_1.pth'
    assert not made.is_finished
    (made.work_dir / 'last_checkpoint').write_text(str(half))
    assert made.last_checkpoint == half and not made.is_finished
    half.unlink()
    assert made.last_checkpoint is None


def test_a_checkpoint_elsewhere_is_found(tmp_path):
    """``default_hooks.checkpoint.out_dir`` says where."""
    made = training(tmp_path, dict(epoch=2, iter=80), max_epochs=2)
    (tmp_path / 'out').mkdir()
    moved = tmp_path / 'out/epoch_2.pth'
    (made.work_dir / 'epoch_2.pth').rename(moved)
    (made.work_dir / 'last_checkpoint').write_text(str(moved))
    assert made.last_checkpoint == moved and made.is_finished


# -- processes ----------------------------------------------------------------


@pytest.mark.torch_only
def test_a_folder_is_locked_as_long_as_a_process_trains_there(tmp_path):
    """Even if the command that started it was killed."""
    with locked(tmp_path / 'x') as file:
        job = Job('x', ['sleep', '60'], tmp_path, file)
        job.start(os.environ)
        with pytest.raises(Taken), locked(tmp_path / 'x'):
            pass
    made = Training('x', tmp_path / 'x.py', tmp_path / 'x', tmp_path)
    made.config_file.write_text('train_cfg = dict(max_epochs=1)')
    with pytest.raises(TrainingError, match=re.escape(
            f'[x] process {job.process.pid} is already training into '
            f'{tmp_path}/x')):
        train([made])
    job.process.kill()
    job.process.wait()
    with locked(tmp_path / 'x'), pytest.raises(BlockingIOError):
        with open(tmp_path / 'x/.training') as again:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.torch_only
def test_one_that_fails_ends_the_others(tmp_path):
    jobs = [Job('long', ['sleep', '600'], tmp_path),
            Job('short', ['sh', '-c', 'echo "KeyError: a"; exit 3'], tmp_path)]
    with pytest.raises(TrainingError) as caught:
        run(jobs)
    assert str(caught.value) == '[short] KeyError: a'
    assert jobs[0].process.returncode == -signal.SIGTERM


@pytest.mark.torch_only
def test_a_terminated_command_takes_its_trainings_with_it(tmp_path):
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    job = Job('x', ['sh', '-c', f'kill {os.getpid()}; exec sleep 600'],
              tmp_path)
    with pytest.raises(SystemExit) as ended:
        run([job])
    assert ended.value.code == 143
    assert job.process.returncode == -signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.torch_only
@pytest.mark.parametrize('device, gpus, calls', [
    ('cpu', 0, [(['a', 'b'], 3, 1)]),
    ('cuda', 4, [(['a'], None, 4), (['b'], None, 4)])])
def test_gpus_train_one_after_the_other_and_cores_side_by_side(
        tmp_path, monkeypatch, device, gpus, calls):
    found = []
    module = 'crosskd.apps.distil.run'
    monkeypatch.setattr(f'{module}.get_device', lambda: device)
    monkeypatch.setattr('torch.cuda.device_count', lambda: gpus)
    monkeypatch.setattr('torch.get_num_threads', lambda: 6)
    monkeypatch.setattr(
        f'{module}.train', lambda trainings, threads=None, gpus=1:
        found.append(([t.name for t in trainings], threads, gpus)))
    train_on_this_machine([
        Training(name, tmp_path / f'{name}.py', tmp_path / name)
        for name in 'ab'])
    assert found == calls


@pytest.mark.torch_only
def test_several_gpus_are_used_as_a_user_would(tmp_path):
    made = Training('x', tmp_path / 'x.py', tmp_path / 'w', tmp_path,
                    {'a.b': 1})
    last = ['--work-dir', str(tmp_path / 'w'), '--cfg-options', 'a.b=1']
    tools = trainings.MIM / 'tools'
    assert trainings._command(made, 1) == [
        sys.executable, str(tools / 'train.py'), str(made.config_file), *last]
    assert trainings._command(made, 4) == [
        'bash', str(tools / 'dist_train.sh'), str(made.config_file), '4',
        *last]
    made.work_dir.mkdir()
    (made.work_dir / 'last_checkpoint').write_text('epoch_1.pth')
    last.insert(2, '--resume')
    assert trainings._command(made, 1)[3:] == last


# -- folders ------------------------------------------------------------------


@pytest.fixture
def folder(project, tmp_path, monkeypatch):
    """A folder whose teacher and distilled student are trained."""
    folder = tmp_path / 'project'
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns('compare'))
    shutil.copy(folder / 'work_dirs/distilled/epoch_2.pth',
                folder / 'trained.pth')
    (folder / 'plain.py').rename(folder / 'student.py')
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize('alone, name, found', [
    (False, 'gone', 'no such folder'),
    (False, 'distilled.py', 'expected distilled.py, found student.py, '
     'teacher.py'),
    (True, 'student.py', 'expected distilled.py and student.py, found '
     'distilled.py, teacher.py')])
def test_a_folder_without_its_configs_is_one_error(
        tmp_path, capsys, alone, name, found):
    for file in {'distilled.py', 'student.py', 'teacher.py'} - {name}:
        (tmp_path / file).write_text('')
    given = tmp_path / name if name == 'gone' else tmp_path
    with pytest.raises(SystemExit) as ended:
        main(['distil', str(given), *['--alone'] * alone])
    message = str(ended.value.code)
    assert message.startswith(f'python -m crosskd distil: {given}: {found}')
    assert message.endswith(
        f'  python -m crosskd make_config --data DATA --out {given}')


def test_a_config_in_place_of_its_folder_names_the_folder(tmp_path):
    (tmp_path / 'distilled.py').write_text('')
    with pytest.raises(ValueError, match=(
            'distilled.py: is a file; expected the folder that make_config '
            f'--data has written, such as {tmp_path}$')):
        distil(tmp_path / 'distilled.py')


def test_what_cannot_be_compared_is_told_before_training(folder):
    shutil.rmtree(folder / 'work_dirs')
    text = (folder / 'distilled.py').read_text()
    (folder / 'distilled.py').write_text(
        f"{text}\ntest_evaluator['ann_file'] = 'data/shapes/train.json'")
    with pytest.raises(ValueError, match='teacher.py and distilled.py have '
                       'different test sets: data/shapes/val.json and data'):
        distil('.')
    assert not (folder / 'work_dirs').exists()


@pytest.mark.slow
def test_what_is_finished_is_compared_and_not_trained(folder, capsys):
    before = (folder / 'work_dirs/distilled/epoch_2.pth').stat().st_mtime_ns
    rows = distil('.')
    out = capsys.readouterr().out
    assert [row['detector'] for row in rows] == [
        'teacher', 'distilled student']
    assert all(row['metrics']['AP']['mean'] is not None for row in rows)
    assert 'has changed since' not in out
    for line in ('[teacher] is already trained',
                 '[distilled student] is already trained',
                 '== Step 3 of 3: comparing on the test set',
                 f'  {folder}/compare/compare.html',
                 '  python -m crosskd test student.py '
                 'work_dirs/distilled/epoch_2.pth'):
        assert line in out.splitlines(), out
    assert (folder / 'compare/compare.html').is_file()
    assert (folder / 'work_dirs/distilled/epoch_2.pth').stat(
        ).st_mtime_ns == before
    # what is kept is told where its config has changed since
    with open(folder / 'distilled.py', 'a') as file:
        file.write("\nmodel['kd_cfg']['loss_cls_kd']['loss_weight'] = 7.0")
    distil('.')
    assert (
        '[distilled student] distilled.py has changed since it was trained '
        '(model.kd_cfg.loss_cls_kd.loss_weight). To train it again, remove '
        'work_dirs/distilled'
        in capsys.readouterr().out.splitlines())


@pytest.mark.torch_only
def test_differences_of_configs_are_keys():
    one = dict(a=dict(b=(1, 2), c=3), work_dir='x', d=[dict(e=1)],
               model=dict(teacher_ckpt='y', f=1))
    other = dict(a=dict(b=[1, 2], c=4), work_dir='z', d=[dict(e=2)],
                 model=dict(teacher_ckpt='w', f=1), launcher='none', g=None)
    assert list(differences(one, other)) == ['a.c', 'd']


def test_the_student_is_pointed_to_the_teachers_last_checkpoint(tmp_path):
    (tmp_path / 'my data').mkdir()
    for folder, told in (tmp_path, True), (tmp_path / 'my data', False):
        teacher = training(folder, dict(epoch=2, iter=80), max_epochs=2)
        last = teacher.work_dir / 'epoch_2.pth'
        student = Training('y', folder / 'y.py', folder / 'y')
        student.config_file.write_text(
            f'model = dict(teacher_ckpt={str(last)!r})')
        _point_to(teacher, student)
        assert student.changes == {}  # its config says it already
        student.config_file.write_text("model = dict(teacher_ckpt='other')")
        if told:
            _point_to(teacher, student)
            assert student.changes == {'model.teacher_ckpt': str(last)}
        else:  # mmengine's --cfg-options drop spaces
            with pytest.raises(ValueError, match=re.escape(
                    "y.py: model.teacher_ckpt='other'; expected "
                    f'{str(last)!r}')):
                _point_to(teacher, student)


@pytest.fixture
def wrong_student(folder):
    """The config of a student that cannot be trained; no teacher is there."""
    shutil.rmtree(folder / 'work_dirs')
    file = folder / 'distilled.py'
    with open(file, 'a') as text:
        text.write("\nmodel['kd_cfg']['reused_teacher_head_idx'] = 9")
    return file


def test_a_student_is_checked_before_its_teacher_is_there(wrong_student):
    with pytest.raises(ConfigValueError, match='reused_teacher_head_idx'):
        checking.main([str(wrong_student)])
    with open(wrong_student, 'a') as text:
        text.write("\nmodel['kd_cfg']['reused_teacher_head_idx'] = 1")
    checking.main([str(wrong_student)])
    assert not (wrong_student.parent / 'work_dirs').exists()


@pytest.mark.slow
def test_what_is_wrong_with_a_student_is_told_before_the_teacher_trains(
        wrong_student):
    with pytest.raises(SystemExit) as ended:
        main(['distil', '.'])
    assert re.fullmatch(
        r'python -m crosskd distil: \[distilled student\] ValueError: '
        r'.*reused_teacher_head_idx.*', str(ended.value.code))
    assert not (wrong_student.parent / 'work_dirs/teacher').exists()


# -- the command --------------------------------------------------------------


def test_both_spellings_and_the_script_are_one_command(capsys, monkeypatch):
    helps = {}
    for words in ('python -m crosskd distil', 'python -m crosskd distill',
                  'python tools/distil.py'):
        with pytest.raises(SystemExit) as ended:
            if 'tools' in words:
                monkeypatch.setattr(sys, 'argv', ['distil.py', '--help'])
                runpy.run_path(str(REPO / 'tools/distil.py'),
                               run_name='__main__')
            main([words.split()[-1], '--help'])
        assert not ended.value.code
        helps[words] = text = capsys.readouterr().out
        assert text.startswith(f'usage: {words} [-h] [--alone] FOLDER\n')
        assert f'example:\n  {words} my_detector --alone\n' in text
    # lines are broken at other words
    assert len({' '.join(text.replace(words, 'x').split())
                for words, text in helps.items()}) == 1


def test_a_stopped_command_says_how_it_continues(tmp_path, capsys,
                                                 monkeypatch):
    def stop(folder, alone):
        raise KeyboardInterrupt

    monkeypatch.setattr('crosskd.apps.distil.distil', stop)
    with pytest.raises(SystemExit) as ended:
        main(['distil', str(tmp_path)])
    assert ended.value.code == 130
    assert capsys.readouterr().err == (
        'python -m crosskd distil: stopped; run the same command again to '
        'continue\n')


# -- the whole road -----------------------------------------------------------


def start(folder):
    return subprocess.Popen(
        [sys.executable, '-m', 'crosskd', 'distill', folder, '--alone'],
        cwd=folder.parent, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={
            **os.environ, 'PYTHONPATH': os.pathsep.join(
                [str(REPO), str(REPO / 'tests/lib')])})


def read_until(process, word):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            break
    assert word in lines[-1], ''.join(lines)
    return ''.join(lines)


@pytest.mark.slow
def test_a_command_that_is_stopped_again_and_again_ends_with_a_page(folder):
    """Killed in the teacher, terminated in the students, then left alone."""
    shutil.rmtree(folder / 'work_dirs')
    for file in folder.glob('*.py'):
        file.write_text(re.sub(r"'data/shapes/", f"'{folder}/data/shapes/",
                               file.read_text()))
    distilled = folder / 'distilled.py'
    distilled.write_text(distilled.read_text().replace(
        "'teacher.py'", f"'{folder}/teacher.py'"))
    teacher = folder / 'work_dirs/teacher'

    first = start(folder)
    read_until(first, '[teacher] epoch 1, 1 of 4 steps')
    first.kill()
    number = int((teacher / '.training').read_text())
    os.kill(number, signal.SIGSTOP)  # it has outlived the command
    again = start(folder)
    assert (f'[teacher] process {number} is already training into {teacher}'
            in again.communicate(timeout=300)[0])
    assert again.returncode == 1
    os.kill(number, signal.SIGKILL)

    second = start(folder)
    read_until(second, '[distilled student] epoch 1, 4 of 4 steps')
    second.terminate()
    second.communicate(timeout=300)
    assert second.returncode == 143
    epoch = max((folder / 'work_dirs/distilled').glob('epoch_*.pth'),
                default=None)

    third = start(folder)
    out = third.communicate(timeout=600)[0]
    assert third.returncode == 0, out
    assert '[teacher] is already trained' in out
    assert epoch is None or epoch.name != 'epoch_1.pth' or (
        f'[distilled student] continues from {epoch}') in out
    rows = json.loads((folder / 'compare/compare.json').read_text())
    assert [row['detector'] for row in rows['detectors']] == [
        'teacher', 'student alone', 'distilled student']
    assert same_weights(folder / 'work_dirs/distilled/epoch_2.pth',
                        folder / 'trained.pth')


@pytest.mark.slow
def test_several_processes_train_one_detector(folder, capsys, monkeypatch):
    """Without GPUs they talk through gloo."""
    monkeypatch.setenv('PORT', '29647')
    shutil.rmtree(folder / 'work_dirs/teacher')
    made = Training('x', folder / 'teacher.py', folder / 'work_dirs/teacher')
    train([made], threads=1, gpus=2)
    assert made.is_finished
    assert '[x] epoch 1, 2 of 2 steps' in capsys.readouterr().out
    made.changes['optim_wrapper.optimizer.type'] = 'Nonesuch'
    made.changes['train_cfg.max_epochs'] = 2
    with pytest.raises(TrainingError, match=r'^\[x\] \w+Error: .*Nonesuch'):
        train([made], threads=1, gpus=2)
