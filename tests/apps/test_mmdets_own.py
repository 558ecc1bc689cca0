"""mmdet's own train and test tool, on a student narrower than its teacher.

A config that names the Runner gets adapters, checks and exact resuming there,
as from the tools of this package.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from downstream import SMALL, child, make_project
from experiments import experiment, model_cfg, same_weights, write
from helpers import distiller_cfg, wide_teacher
from processes import PATH, has_openmim
from tool_output import metrics, written
from tool_server import run as tool

from conftest import REPO
from crosskd.apps.commands.mmdet_tools import TOOLS
from crosskd.compat import mmcv_ext

TRAIN, TEST = TOOLS / 'train.py', TOOLS / 'test.py'
PKD = dict(type='PKDLoss', loss_weight=1.0)
KEY = 'distillation_state_dict'


def adapters(path):
    return torch.load(path, weights_only=False)[KEY]


def same(a, b):
    """Whether two checkpoints have the same student and adapters."""
    ours, theirs = adapters(a), adapters(b)
    assert len(ours) == 6 and ours.keys() == theirs.keys()
    return same_weights(a, b) and all(
        torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture(scope='module')
def narrow(project):
    """A folder with ``narrower.py``, which our own train tool has trained."""
    model = model_cfg(wide_teacher(distiller_cfg('gfl', loss_feat_kd=PKD)))
    write(project / 'narrower.py', experiment(
        model, runner_type='DistillationRunner'))
    tool('train.py', 'narrower.py', cwd=project)
    return project


def last(folder):
    return folder / 'work_dirs/narrower/epoch_2.pth'


def test_it_trains_and_resumes_exactly(narrow, tmp_path):
    out = tool(TRAIN, 'narrower.py', '--work-dir', tmp_path, '--cfg-options',
               'train_cfg.max_epochs=1', cwd=narrow)
    first = adapters(tmp_path / 'epoch_1.pth')
    # mmengine's names of loggers and files are those of the run
    log, = tmp_path.glob('*/*.log')
    for words in ('5 classes', '8 channels and the teacher 16'):
        assert words in out and words in log.read_text()
    assert (tmp_path / 'narrower.py').is_file()
    out = tool(TRAIN, 'narrower.py', '--work-dir', tmp_path, '--resume',
               cwd=narrow)
    assert 'resumed epoch: 1' in out
    assert same(tmp_path / 'epoch_2.pth', last(narrow))
    second = adapters(tmp_path / 'epoch_2.pth')
    assert all(not torch.equal(first[key], second[key]) for key in first)


def test_its_checkpoint_is_tested_as_a_plain_detector(narrow, tmp_path):
    """And by its own config, without teacher and training data."""
    plain = tool(TEST, 'plain.py', last(narrow), '--work-dir', tmp_path,
                 cwd=narrow)
    assert 'unexpected key' not in plain and 'missing key' not in plain
    lost = tool(TEST, 'narrower.py', last(narrow), '--work-dir', tmp_path,
                '--cfg-options', 'model.teacher_ckpt=gone.pth',
                'train_dataloader.dataset.ann_file=gone.json', cwd=narrow)
    ours = tool('test.py', 'narrower.py', last(narrow), '--work-dir', tmp_path,
                cwd=narrow)
    assert metrics(plain) == metrics(lost) == metrics(ours)


@pytest.mark.parametrize('option, words', [
    ('model.teacher_ckpt=gone.pth', "FileNotFoundError: teacher_ckpt='gone"),
    ('model.kd_cfg.adapter=5', 'TypeError: kd_cfg.adapter'),
    ('model.bbox_head.num_classes=7', 'ValueError: .*has 5 classes'),
    ('train_dataloader.dataset.ann_file=gone.json',
     'FileNotFoundError: train_dataloader.dataset.ann_file'),
    ('custom_hooks.0.type=EMAHok', "ValueError: .*did you mean 'EMAHook'"),
    ('strategy.type=DDPStrategy', 'ValueError: strategy=.*FlexibleRunner'),
])
def test_what_cannot_be_trained_is_one_error_before_anything_is_written(
        narrow, tmp_path, option, words):
    write(narrow / 'hooked.py', dict(
        _base_='narrower.py', custom_hooks=[dict(type='EMAHook')]))
    out = tool(TRAIN, 'hooked.py', '--work-dir', tmp_path, '--cfg-options',
               option, cwd=narrow, ok=False)
    *_, line = out.strip().splitlines()
    assert re.match(rf'crosskd\.errors\.Config{words}', line), out[-2000:]
    assert out.count('Traceback') == 1
    assert not written(tmp_path)


@pytest.mark.parametrize('command', ['train', 'resume', 'test'])
def test_checkpoints_are_loaded_through_the_allow_list(
        narrow, tmp_path, command):

    class Evil:

        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'it ran'), )

    evil = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, evil=Evil()), evil)
    args = dict(train=[TRAIN, 'narrower.py', '--cfg-options',
                       f'load_from={evil}'],
                resume=[TRAIN, 'narrower.py', '--resume', evil],
                test=[TEST, 'narrower.py', evil])[command]
    out = tool(*args, '--work-dir', tmp_path / 'run', cwd=narrow, ok=False)
    assert 'not on the allow-list' in out
    assert not (tmp_path / 'it ran').exists()


def test_a_projects_copy_of_the_tool(narrow, shapes_root, tmp_path):
    """It has a scope, registries and a head of its own."""
    make_project(tmp_path)
    copied = shutil.copy(TRAIN, tmp_path / 'their_train.py')
    (tmp_path / 'wide.py').write_text(
        "_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\n"
        + SMALL.replace('channels=32', 'channels=64'))
    (tmp_path / 'theirs.py').write_text(child(
        str(REPO / 'configs/crosskd/crosskd_r18_gflv1_r50_fpn_1x_coco.py'),
        shapes_root / 'data/shapes', 'myproject', """
        model.update(teacher_config='wide.py', teacher_ckpt='random')
        model['bbox_head']['type'] = 'myproject.MyHead'
        custom_imports = dict(imports=['crosskd', 'myproject.parts'],
                              allow_failed_imports=False)
        custom_hooks = [dict(type='MyHook')]
        randomness = dict(seed=0)
        """))

    def train(folder, *args):
        return tool(copied, 'theirs.py', '--work-dir', folder, *args,
                    cwd=tmp_path, env=dict(PYTHONPATH=str(tmp_path)))

    out = train('parts')
    assert 'my hook ran' in out and '32 channels and the teacher 64' in out
    more = ('--cfg-options', 'train_cfg.max_epochs=2')
    train('parts', '--resume', *more)
    train('whole', *more)
    ours, theirs = (tmp_path / name / 'epoch_2.pth'
                    for name in ('parts', 'whole'))
    assert same_weights(ours, theirs) and adapters(ours).keys()
    for key, value in adapters(ours).items():
        assert torch.equal(value, adapters(theirs)[key])


# -- in processes of their own, which have imported nothing yet --------------


def run(*command, cwd, ok=True, **env):
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, text=True, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'PATH': PATH, 'OMP_NUM_THREADS': '1', **env})
    assert (done.returncode == 0) == ok, done.stdout[-3000:]
    return done.stdout


@pytest.mark.slow
def test_mmdets_own_tools_as_scripts(narrow, tmp_path):
    run(sys.executable, TRAIN, 'narrower.py', '--work-dir', tmp_path,
        cwd=narrow)
    assert same(tmp_path / 'epoch_2.pth', last(narrow))
    if not mmcv_ext.is_installed():  # mmdet's test tool needs compiled ops
        out = run(sys.executable, TEST, 'plain.py', tmp_path / 'epoch_2.pth',
                  cwd=narrow)
        assert metrics(out) == metrics(tool(
            'test.py', 'plain.py', last(narrow), cwd=narrow))


@pytest.mark.slow
def test_mmdets_own_script_for_several_processes(narrow, tmp_path):
    """Without GPUs, by gloo; resumed, it is what it would have been."""
    write(narrow / 'ranks_narrow.py', dict(
        _base_='narrower.py', custom_hooks=[dict(type='SaveEveryRank')],
        custom_imports=dict(imports=['crosskd', 'every_rank'])))
    script = TOOLS / 'dist_train.sh'
    lib = str(Path(__file__).parents[1] / 'lib')

    def train(folder, *args, port):
        return run('bash', script, 'ranks_narrow.py', 2, '--work-dir', folder,
                   *args, cwd=narrow, PORT=str(port), PYTHONPATH=os.pathsep.
                   join([lib, os.environ.get('PYTHONPATH', '')]))

    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    out = train(whole, port=29671)
    assert 'Epoch(train) [2][2/2]' in re.sub(' +', ' ', out)
    assert same_weights(whole / 'rank_0.pth', whole / 'rank_1.pth')
    train(parts, '--cfg-options', 'train_cfg.max_epochs=1', port=29672)
    train(parts, '--resume', port=29673)
    assert same(parts / 'epoch_2.pth', whole / 'epoch_2.pth')
    assert not same_weights(whole / 'epoch_2.pth', last(narrow))


@pytest.mark.slow
@pytest.mark.skipif(not has_openmim(), reason='openmim is not installed')
def test_mim_train_of_mmdet(narrow, tmp_path):
    out = run(Path(sys.executable).parent / 'mim', 'train', 'mmdet',
              'narrower.py', '--work-dir', tmp_path, cwd=narrow)
    assert str(TRAIN.resolve()) in out
    assert same(tmp_path / 'epoch_2.pth', last(narrow))


# -- mmengine's other Runner, which has strategies ---------------------------

HOOKS = [dict(type='RepeatableEpochsHook'), dict(type='AuxiliaryStateHook')]
DDP = dict(type='DDPStrategy', model_wrapper=dict(
    type='MMDistributedDataParallel', device_ids=None,
    broadcast_buffers=False))  # without GPUs


def flexible(base, strategy, **more):
    return dict(_base_=base, runner_type='FlexibleRunner', strategy=strategy,
                custom_hooks=HOOKS, **more)


def test_a_strategy_of_one_process_trains_and_resumes_adapters(
        narrow, tmp_path):
    """It initialises the model, which reads the teacher, before the rest."""
    write(narrow / 'one.py', flexible(
        'narrower.py', dict(type='SingleDeviceStrategy')))
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    tool(TRAIN, 'one.py', '--work-dir', whole, cwd=narrow)
    tool(TRAIN, 'one.py', '--work-dir', parts, '--cfg-options',
         'train_cfg.max_epochs=1', cwd=narrow)
    tool(TRAIN, 'one.py', '--work-dir', parts, '--resume', cwd=narrow)
    assert same(parts / 'epoch_2.pth', whole / 'epoch_2.pth')
    first, second = (adapters(f) for f in (
        parts / 'epoch_1.pth', parts / 'epoch_2.pth'))
    assert all(not torch.equal(first[key], second[key]) for key in first)


def two(config, folder, cwd, port, ok=True):
    """Two processes of our train command, which has gloo for any Runner."""
    return run(sys.executable, '-m', 'torch.distributed.run',
               '--nproc_per_node=2', f'--master_port={port}', '-m', 'crosskd',
               'train', config, '--work-dir', folder, '--launcher=pytorch',
               cwd=cwd, ok=ok)


@pytest.mark.slow
def test_a_strategy_of_two_processes(narrow, tmp_path):
    """Equal widths train; adapters are one error before training."""
    write(narrow / 'two_equal.py', flexible('distilled.py', DDP))
    out = two('two_equal.py', tmp_path / 'equal', narrow, 29681)
    assert 'Epoch(train) [2][2/2]' in re.sub(' +', ' ', out)
    assert (tmp_path / 'equal/epoch_2.pth').is_file()
    write(narrow / 'two.py', flexible('narrower.py', DDP))
    out = two('two.py', tmp_path / 'two', narrow, 29682, ok=False)
    said = set(re.findall(r'RuntimeError: (kd_cfg: .*)', out))
    assert len(said) == 1
    assert "runner_type = 'DistillationRunner'" in said.pop()
    assert 'Epoch(train)' not in out
    assert not list((tmp_path / 'two').rglob('*.pth'))
