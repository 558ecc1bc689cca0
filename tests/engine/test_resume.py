"""Runs that are killed and resumed end as if nothing had happened."""
import random
import shutil

import pytest
import torch
from experiments import experiment, model_cfg, same_weights, weights, write
from helpers import distiller_cfg, sdd_cfg, wide_teacher
from tool_server import run as tool
from tool_server import start

from crosskd.engine.resuming import choose_checkpoint

EPOCHS = 4
EMA = dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01,
           update_buffers=True)
# Twelve images, three a step: four steps an epoch.  A kill happens once, and
# the file it leaves says so.
KILLER = '''
import os
import signal
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook

MARKS = Path(os.environ['MARKS'])


def kill_once(name):
    mark = MARKS / name
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class Killer(Hook):

    def after_train_iter(self, runner, batch_idx, **kwargs):
        if runner.iter == 6:  # in the middle of the second epoch
            kill_once('iteration')

    def before_val_iter(self, runner, batch_idx, **kwargs):
        if runner.epoch == 2:
            kill_once('validation')


put = LocalBackend.put


def put_half(self, obj, filepath):
    """The third epoch's checkpoint gets as far as its middle."""
    if str(filepath).endswith('epoch_3.pth') and not (
            MARKS / 'checkpoint').exists():
        put(self, obj[:len(obj) // 2], filepath)
        kill_once('checkpoint')
    put(self, obj, filepath)


LocalBackend.put = put_half
'''
METHODS = dict(
    # with channel adapters of all kinds, and a loss that has layers and draws
    # random masks
    crosskd=lambda: wide_teacher(distiller_cfg(
        'gfl', loss_feat_kd=dict(type='MGDLoss'))),
    sdd=lambda: sdd_cfg('gfl', loss=dict(warmup_iters=10)))


def config(root, method, ema, hooks=()):
    """Random flips, momentum and a schedule."""
    cfg = experiment(model_cfg(METHODS[method]()), epochs=EPOCHS)
    cfg['train_cfg']['val_interval'] = 1
    cfg['default_hooks']['checkpoint']['max_keep_ckpts'] = EPOCHS
    cfg['custom_hooks'] = [EMA] * ema + list(hooks)
    if hooks:
        cfg['custom_imports']['imports'].append('killer')
    name = f'{method}{"_ema" * ema}{"_killed" * bool(hooks)}.py'
    write(root / name, cfg)
    return name


def end(work_dir):
    return work_dir / f'epoch_{EPOCHS}.pth'


def same_end(one, other):
    """Weights, those beside the student's, and averages of both."""
    a, b = (torch.load(end(d), weights_only=False) for d in (one, other))
    kinds = [k for k in a if k.endswith('state_dict')]
    return all(
        a[kind].keys() == b[kind].keys()
        and all(torch.equal(a[kind][k], b[kind][k]) for k in a[kind])
        for kind in kinds)


@pytest.fixture(scope='module')
def whole(project, tmp_path_factory):
    """Uninterrupted runs, made when first asked for."""
    done = {}

    def get(method, ema):
        if (method, ema) not in done:
            folder = tmp_path_factory.mktemp('whole')
            tool('train.py', config(project, method, ema), '--work-dir',
                 folder, cwd=project)
            done[method, ema] = folder
        return done[method, ema]

    return get


@pytest.mark.parametrize('ema', [
    pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize('method', METHODS)
def test_killed_in_a_step_in_validation_and_while_saving(
        project, whole, tmp_path, method, ema):
    (tmp_path / 'killer.py').write_text(KILLER)
    marks = tmp_path / 'marks'
    marks.mkdir()
    env = dict(MARKS=str(marks), PYTHONPATH=str(tmp_path))
    name = config(project, method, ema, [dict(type='Killer')])
    args = ('train.py', name, '--work-dir', tmp_path / 'run', '--resume')
    kills = []
    while not kills or kills[-1] is not None:
        assert len(kills) < 5
        seen = set(marks.iterdir())
        ended = len(seen) == 3
        tool(*args, cwd=project, env=env, ok=ended)
        new = set(marks.iterdir()) - seen
        kills.append(new.pop().name if new else None)
        assert (kills[-1] is None) == ended
    assert kills == ['iteration', 'validation', 'checkpoint', None]
    assert same_end(tmp_path / 'run', whole(method, ema))


@pytest.mark.slow
def test_killed_at_random_moments(project, whole, tmp_path):
    moments = random.Random(0)
    args = ('train.py', config(project, 'crosskd', True), '--work-dir',
            tmp_path, '--resume')
    interrupted = 0
    for attempt in range(30):
        process, output = start(*args, cwd=project)
        # seconds; more each time, for slow machines
        process.join(moments.uniform(0, 1) + attempt / 2)
        begun = any(tmp_path.glob('*.pth'))
        interrupted += begun and process.exitcode is None
        process.kill()
        process.join()
        output.unlink()
        if interrupted == 2 or process.exitcode == 0:
            break
    out = tool(*args, cwd=project)
    assert 'Resumed from' in out and interrupted
    assert same_end(tmp_path, whole('crosskd', True))


def test_ctrl_c_says_how_to_go_on(project, tmp_path):
    (tmp_path / 'stopping.py').write_text('\n'.join([
        'from mmdet.registry import HOOKS',
        'from mmengine.hooks import Hook',
        '@HOOKS.register_module()',
        'class Stop(Hook):',
        '    def before_train_epoch(self, runner):',
        '        if runner.epoch == 1:',
        '            raise KeyboardInterrupt']))
    cfg = experiment(model_cfg(distiller_cfg('gfl')))
    cfg['custom_imports']['imports'].append('stopping')
    cfg['custom_hooks'] = [dict(type='Stop')]
    write(project / 'stopped.py', cfg)
    out = tool('train.py', 'stopped.py', '--work-dir', tmp_path, cwd=project,
               env=dict(PYTHONPATH=str(tmp_path)), ok=False)
    assert out.endswith('train.py: interrupted; to continue from the '
                        'last checkpoint, run the same command with '
                        '--resume\n')
    assert 'Traceback' not in out and (tmp_path / 'epoch_1.pth').is_file()


def whole_and_in_parts(project, folder, config, stop, last):
    """Last checkpoints of a run and of one that was stopped and resumed."""
    run = ('train.py', config, '--work-dir')
    tool(*run, folder / 'whole', cwd=project)
    tool(*run, folder / 'parts', '--cfg-options', stop, cwd=project)
    tool(*run, folder / 'parts', '--resume', cwd=project)
    return folder / 'whole' / last, folder / 'parts' / last


@pytest.mark.slow
def test_other_workers_than_this_process_are_resumed_too(project, tmp_path):
    """Persistent workers would go on where their first epoch ended."""
    cfg = experiment(model_cfg(distiller_cfg('gfl')), epochs=2)
    cfg['train_dataloader'].update(num_workers=2, persistent_workers=True)
    write(project / 'workers.py', cfg)
    whole, parts = whole_and_in_parts(
        project, tmp_path, 'workers.py', 'train_cfg.max_epochs=1',
        'epoch_2.pth')
    assert same_weights(parts, whole)
    # a run of another seed differs
    tool('train.py', 'workers.py', '--work-dir', tmp_path / 'other',
         '--cfg-options', 'randomness.seed=1', cwd=project)
    assert not same_weights(tmp_path / 'other/epoch_2.pth', whole)


def test_runs_counted_in_iterations(project, tmp_path):
    """The same images again; how they are flipped is not repeated there."""
    cfg = experiment(
        model_cfg(distiller_cfg('gfl')), param_scheduler=[],
        log_processor=dict(by_epoch=False),
        train_cfg=dict(by_epoch=False, max_iters=6, val_interval=6))
    cfg['train_dataloader']['sampler']['type'] = 'InfiniteSampler'
    for step in cfg['train_dataloader']['dataset']['pipeline']:
        if step['type'] == 'RandomFlip':
            step['prob'] = 0.0
    cfg['default_hooks']['checkpoint'].update(by_epoch=False, interval=3)
    write(project / 'iterations.py', cfg)
    assert same_weights(*whole_and_in_parts(
        project, tmp_path, 'iterations.py', 'train_cfg.max_iters=3',
        'iter_6.pth'))


ORDERS = dict(  # iterations done by file: what is resumed, in this order
    epochs=(dict(epoch_9=36, epoch_10=40), ['epoch_10', 'epoch_9']),
    iterations_further=(dict(epoch_2=8, iter_10=10), ['iter_10', 'epoch_2']),
    epochs_further=(dict(epoch_3=12, epoch_2=8, iter_10=10, iter_9=9),
                    ['epoch_3', 'iter_10', 'iter_9', 'epoch_2']),
    equal=(dict(epoch_2=8, iter_8=8), ['iter_8', 'epoch_2']),
    others=(dict(epoch_1=4, best_bbox_mAP_epoch_2=8, epoch_x=9), ['epoch_1']))


@pytest.mark.parametrize('case', ORDERS)
def test_the_furthest_that_can_be_read_is_resumed(case, tmp_path):
    files, order = ORDERS[case]
    for name, done in files.items():
        torch.save(dict(meta=dict(iter=done)), tmp_path / f'{name}.pth')
    for name in order:
        assert choose_checkpoint(str(tmp_path)) == str(
            tmp_path / f'{name}.pth')
        (tmp_path / f'{name}.pth').write_bytes(b'PK')
    with pytest.raises(ValueError, match='no checkpoint in .* can be read'):
        choose_checkpoint(str(tmp_path))


def test_what_mmengine_noted_is_the_newest(tmp_path):
    for name, done in dict(epoch_1=4, epoch_2=8).items():
        torch.save(dict(meta=dict(iter=done)), tmp_path / f'{name}.pth')
    note = tmp_path / 'last_checkpoint'
    note.write_text('/elsewhere/epoch_1.pth')  # a folder that was moved
    assert choose_checkpoint(str(tmp_path)) == str(tmp_path / 'epoch_1.pth')
    torch.save(dict(state_dict={}), tmp_path / 'epoch_1.pth')  # of no run
    assert choose_checkpoint(str(tmp_path)) == str(tmp_path / 'epoch_2.pth')


@pytest.fixture
def half_done(project, whole, tmp_path):
    """A run of two epochs, of four."""
    for epoch in (1, 2):
        shutil.copy(whole('sdd', False) / f'epoch_{epoch}.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    return tmp_path


def resume(project, work_dir, **kwargs):
    return tool('train.py', config(project, 'sdd', False), '--work-dir',
                work_dir, '--resume', cwd=project, **kwargs)


@pytest.mark.parametrize('left', [0, 100, 0.5, 0.999])
def test_a_truncated_checkpoint_is_passed_over(project, whole, half_done,
                                               left):
    last = half_done / 'epoch_2.pth'
    content = last.read_bytes()
    last.write_bytes(content[:int(left if left > 1 else len(content) * left)])
    out = resume(project, half_done)
    assert 'epoch_2.pth' in out and 'Trying the previous one' in out
    assert 'resumed epoch: 1' in out
    assert same_end(half_done, whole('sdd', False))


def test_a_note_that_was_not_written_out_is_no_loss(project, whole,
                                                    half_done):
    (half_done / 'last_checkpoint').write_text('')
    assert 'resumed epoch: 2' in resume(project, half_done)
    assert same_end(half_done, whole('sdd', False))


def test_nothing_readable_is_an_error_and_keeps_the_files(project, half_done):
    for epoch in (1, 2):
        (half_done / f'epoch_{epoch}.pth').write_bytes(b'PK')
    out = resume(project, half_done, ok=False)
    assert 'ValueError: --resume: no checkpoint in' in out
    assert (half_done / 'epoch_1.pth').read_bytes() == b'PK'


def test_checkpoints_in_another_folder_are_found(project, whole, tmp_path):
    """The hook's ``out_dir``; mmengine's note in the work dir tells of it."""
    options = ('--cfg-options',
               f'default_hooks.checkpoint.out_dir={tmp_path / "out"}')
    run = ('train.py', config(project, 'sdd', False), '--work-dir',
           tmp_path / 'run')
    tool(*run, *options, 'train_cfg.max_epochs=2', cwd=project)
    out = tool(*run, '--resume', *options, cwd=project)
    assert 'resumed epoch: 2' in out
    assert same_end(tmp_path / 'out/run', whole('sdd', False))
    shutil.rmtree(tmp_path / 'out')
    out = tool(*run, '--resume', *options, cwd=project, ok=False)
    assert 'FileNotFoundError: --resume: ' in out


def test_keeping_one_checkpoint_is_warned_of(project, tmp_path):
    out = tool('train.py', 'distilled.py', '--work-dir', tmp_path,
               '--cfg-options', 'train_cfg.max_epochs=1',
               'default_hooks.checkpoint.max_keep_ckpts=1', cwd=project)
    assert 'killed in between, both are lost; 2 is safe' in out


def test_nothing_to_resume_is_said(project, tmp_path):
    write(project / 'short.py',
          experiment(model_cfg(distiller_cfg('gfl')), epochs=1))
    out = tool('train.py', 'short.py', '--work-dir', tmp_path, '--resume',
               cwd=project)
    assert 'there is no checkpoint' in out and 'training starts from' in out
    assert weights(tmp_path / 'epoch_1.pth')
