"""Real runs through the command-line tools, on generated images."""
import json
import re
import shutil
import socket
import textwrap
from pathlib import Path

import mmdet
import pytest
from experiments import experiment, model_cfg, same_weights, write
from helpers import KINDS, sdd_cfg
from processes import PATH, python, run
from tool_output import metrics
from tool_server import run as tool

from conftest import REPO
from crosskd.compat import mmcv_ext

TOOLS = REPO / 'tools'
def test_training_writes_a_plain_checkpoint(project):
    path = project / 'work_dirs/distilled/epoch_2.pth'
    with_distiller = tool('test.py', 'distilled.py', path,
                            '--cfg-options', 'test_evaluator.outfile_prefix=a',
                            cwd=project)
    as_plain = tool('test.py', 'plain.py', path, '--cfg-options',
                      'test_evaluator.outfile_prefix=b', cwd=project)
    assert 'unexpected key' not in as_plain and 'missing key' not in as_plain
    assert metrics(with_distiller) == metrics(as_plain)
    ours, theirs = (json.loads((project / f'{n}.bbox.json').read_text())
                    for n in 'ab')
    assert ours == theirs and len(ours) > 0


def test_inference_needs_no_teacher(project, tmp_path):
    path = project / 'work_dirs/distilled/epoch_2.pth'
    out = tool('test.py', 'distilled.py', path, '--work-dir', tmp_path,
        '--cfg-options', 'model.teacher_config=gone.py',
        'model.teacher_ckpt=gone.pth', cwd=project)
    assert metrics(out)
    code = textwrap.dedent(f'''
        import crosskd
        from mmdet.apis import inference_detector, init_detector
        from mmengine.config import Config
        cfg = Config.fromfile('distilled.py')
        cfg.model.update(teacher_config='gone.py', teacher_ckpt='gone.pth')
        model = init_detector(cfg, '{path}', device='cpu')
        result = inference_detector(model, 'data/shapes/val/00000.png')
        print('boxes', len(result.pred_instances))
    ''')
    assert 'boxes' in python('-c', code, cwd=project)


def test_resume_ends_where_an_uninterrupted_run_ends(project, tmp_path):
    tool('train.py', 'distilled.py', '--work-dir', tmp_path,
           '--cfg-options', 'train_cfg.max_epochs=1', cwd=project)
    assert not (tmp_path / 'epoch_2.pth').exists()
    out = tool('train.py', 'distilled.py', '--work-dir', tmp_path,
                 '--resume', cwd=project)
    assert 'resumed epoch: 1' in out
    assert same_weights(tmp_path / 'epoch_2.pth',
                        project / 'work_dirs/distilled/epoch_2.pth')


@pytest.mark.parametrize('kind', KINDS)
def test_sdd_trains_on_every_head(project, tmp_path, kind):
    write(project / f'sdd_{kind}.py',
          experiment(model_cfg(sdd_cfg(kind)), epochs=1))
    out = tool('train.py', f'sdd_{kind}.py', '--work-dir', tmp_path,
                 cwd=project)
    assert re.search(r'loss_sdd_map: [\d.]+ +loss_sdd_box: [\d.]+', out)
    assert (tmp_path / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_the_warm_up_of_sdd_survives_a_resume(project, tmp_path):
    """Four steps an epoch; the eighth has the whole weight."""
    model = model_cfg(sdd_cfg('gfl', loss=dict(warmup_iters=8)))
    write(project / 'sdd_warm_up.py', experiment(model))
    tool('train.py', 'sdd_warm_up.py', '--work-dir',
           tmp_path / 'whole', cwd=project)
    tool('train.py', 'sdd_warm_up.py', '--work-dir',
           tmp_path / 'parts', '--cfg-options', 'train_cfg.max_epochs=1',
           cwd=project)
    for change, same in ((8, True), (0, False)):
        parts = tmp_path / f'parts_{change}'
        shutil.copytree(tmp_path / 'parts', parts)
        tool('train.py', 'sdd_warm_up.py', '--work-dir', parts,
               '--resume', '--cfg-options',
               f'model.kd_cfg.loss_sdd.warmup_iters={change}', cwd=project)
        assert same_weights(parts / 'epoch_2.pth',
                            tmp_path / 'whole/epoch_2.pth') == same


def test_errors_reach_the_user(project, tmp_path):
    for option, words in (
        ('model.teacher_ckpt=gone.pth', 'FileNotFoundError: .*teacher_ckpt'),
        ('model.teacher_config=gone.py', 'FileNotFoundError: .*looked for'),
        ('model.bbox_head.num_classes=7',
         'bbox_head.num_classes=7: train_dataloader.dataset has 5 classes'),
        ('model.kd_cfg.reused_teacher_head_idx=9', 'found 9')):
        out = tool('train.py', 'distilled.py', '--work-dir',
                     tmp_path, '--cfg-options', option, cwd=project, ok=False)
        assert re.search(words, out), out[-2000:]
        assert not list(tmp_path.rglob('*.pth'))


@pytest.mark.slow
def test_distributed_training_and_test(project, tmp_path):
    port = dict(PORT='29613')
    # synchronised batch norm on both sides, and asked for: there is no GPU
    sync = dict(backbone=dict(norm_cfg=dict(type='SyncBN')))
    write(project / 'sync_teacher.py', dict(_base_='teacher.py', model=sync))
    write(project / 'ranks.py', dict(
        _base_='distilled.py', custom_hooks=[dict(type='SaveEveryRank')],
        custom_imports=dict(imports=['crosskd', 'every_rank']),
        model=dict(sync, teacher_config='sync_teacher.py'), sync_bn='torch'))
    out = run('bash', TOOLS / 'dist_train.sh', 'ranks.py', 2, '--work-dir',
              tmp_path, '--cfg-options', 'train_cfg.max_epochs=1',
              cwd=project,
              env={**port, 'PYTHONPATH': str(REPO / 'tests' / 'lib')})
    assert 'Epoch(train) [1][2/2]' in re.sub(' +', ' ', out)
    assert 'model.backbone.bn1: synchronised batch norm needs GPUs' in out
    assert same_weights(tmp_path / 'rank_0.pth', tmp_path / 'rank_1.pth')
    single = tool('test.py', 'distilled.py',
                    tmp_path / 'epoch_1.pth', cwd=project)
    double = run('bash', TOOLS / 'dist_test.sh', 'distilled.py',
                 tmp_path / 'epoch_1.pth', 2, cwd=project, env=port)
    assert metrics(single) == metrics(double)


@pytest.mark.parametrize('script, args, usage', [
    ('dist_train.sh', [], 'CONFIG GPUS'),
    ('dist_train.sh', ['c.py'], 'CONFIG GPUS'),
    ('dist_train.sh', ['c.py', '--amp'], 'CONFIG GPUS'),
    ('dist_test.sh', [], 'CONFIG CHECKPOINT GPUS'),
    ('dist_test.sh', ['c.py', '2'], 'CONFIG CHECKPOINT GPUS'),
    ('slurm_train.sh', ['part', 'job', 'c.py'],
     'PARTITION JOB_NAME CONFIG WORK_DIR'),
    ('slurm_test.sh', [], 'PARTITION JOB_NAME CONFIG CHECKPOINT')])
def test_a_missing_argument_is_a_usage_line(tmp_path, script, args, usage):
    out = run('bash', TOOLS / script, *args, cwd=tmp_path, ok=False)
    assert len(out.splitlines()) == 1
    assert out.startswith(f'usage: tools/{script} {usage} ')


@pytest.mark.parametrize('script, args', [
    ('dist_train.sh', ['c.py', 2]), ('dist_test.sh', ['c.py', 'k.pth', 2])])
def test_a_port_in_use_is_an_error_that_names_port(tmp_path, script, args):
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        out = run('bash', TOOLS / script, *args, cwd=tmp_path, ok=False,
                  env=dict(PORT=str(port)))
    assert len(out.splitlines()) == 1
    assert re.match(f'port {port}, .* cannot be used: .*Set PORT', out)
    out = run('bash', TOOLS / script, *args, cwd=tmp_path, ok=False,
              env=dict(PORT='high'))
    assert re.match('port high, .*Set PORT', out)


def test_slurm_scripts_call_srun_like_mmdet(project, tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s " "$@" partly >> srun.log\n')
    srun.chmod(0o755)
    env = dict(PATH=f'{tmp_path}:{PATH}', GPUS='4',
               GPUS_PER_NODE='2', SRUN_ARGS='--qos=x --mem=1')
    run('bash', TOOLS / 'slurm_train.sh', 'part', 'job', 'c.py', 'w d',
        '--amp', cwd=tmp_path, env=env)
    run('bash', TOOLS / 'slurm_test.sh', 'part', 'job', 'c.py', 'k.pth',
        '--tta', cwd=tmp_path, env=env)
    log = (tmp_path / 'srun.log').read_text()
    for words in ('-p part --job-name=job --gres=gpu:2 --ntasks=4 '
                  '--ntasks-per-node=2 --cpus-per-task=5 '
                  '--kill-on-bad-exit=1 --qos=x --mem=1 python -u',
                  'train.py c.py --work-dir=w d --launcher=slurm --amp',
                  'test.py c.py k.pth --launcher=slurm --tta'):
        assert words in log


def test_the_tools_take_every_flag_of_mmdets(project):
    for name in ('train.py', 'test.py'):
        out = tool(name, '--help', cwd=project)
        for flag in ('--work-dir', '--cfg-options', '--launcher',
                     '--local_rank'):
            assert flag in out


@pytest.mark.skipif(
    mmcv_ext.is_installed(), reason='mmdet itself needs compiled ops')
def test_mmdets_own_tools_work_through_custom_imports(project, tmp_path):
    own = Path(mmdet.__file__).parent / '.mim/tools'
    write(project / 'repeatable.py', dict(
        _base_='distilled.py',
        custom_hooks=[dict(type='RepeatableEpochsHook')]))
    python(own / 'train.py', 'repeatable.py', '--work-dir', tmp_path,
           cwd=project)
    assert same_weights(tmp_path / 'epoch_2.pth',
                        project / 'work_dirs/distilled/epoch_2.pth')
    assert metrics(python(own / 'test.py', 'distilled.py',
                          tmp_path / 'epoch_2.pth', cwd=project))
