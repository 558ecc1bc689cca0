"""Checkpoints given to the tools are data, whatever they are."""
import shutil

import pytest
import torch
from experiments import experiment, model_cfg, write
from helpers import Writes, distiller_cfg
from tool_server import run as tool

PLACES = ('meta', 'state_dict', 'optimizer')


@pytest.fixture
def evil(project, tmp_path):
    """Checkpoints of a real run with code in one place; how many ran it."""
    good = project / 'work_dirs/distilled/epoch_1.pth'
    proof = tmp_path / 'it_ran'

    def make(place, legacy):
        checkpoint = torch.load(good, weights_only=False)
        checkpoint[place]['evil'] = Writes(proof)
        path = tmp_path / f'{place}_{legacy}.pth'
        torch.save(checkpoint, path,
                   _use_new_zipfile_serialization=not legacy)
        return path

    yield make
    # that it would have run is seen where the loading is unrestricted
    torch.load(make('meta', False), weights_only=False)
    assert proof.exists()


def refused(out, tmp_path):
    assert 'not on the allow-list' in out and 'none of its code was run' in out
    assert out.count('Error: ') == 1
    assert not (tmp_path / 'it_ran').exists()


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('place', PLACES)
def test_resume_refuses_code(project, tmp_path, evil, place, legacy):
    out = tool('train.py', 'distilled.py', '--work-dir', tmp_path / 'run',
               '--resume', evil(place, legacy), cwd=project, ok=False)
    refused(out, tmp_path)


def test_resuming_the_last_checkpoint_refuses_code(project, tmp_path, evil):
    """It is no reason to take the checkpoint before it, either."""
    run = tmp_path / 'run'
    run.mkdir()
    shutil.copy(project / 'work_dirs/distilled/epoch_1.pth', run)
    shutil.copy(evil('optimizer', False), run / 'epoch_2.pth')
    (run / 'last_checkpoint').write_text(str(run / 'epoch_2.pth'))
    out = tool('train.py', 'distilled.py', '--work-dir', run, '--resume',
               cwd=project, ok=False)
    refused(out, tmp_path)


def test_the_config_in_a_checkpoint_is_not_run(project, tmp_path):
    """mmengine reads it on resuming, and a config is a program."""
    path = tmp_path / 'epoch_1.pth'
    checkpoint = torch.load(project / 'work_dirs/distilled/epoch_1.pth',
                            weights_only=False)
    checkpoint['meta']['config'] = (
        f"import os\nos.system('touch {tmp_path}/it_ran')")
    torch.save(checkpoint, path)
    tool('train.py', 'distilled.py', '--work-dir', tmp_path / 'run',
         '--resume', path, cwd=project)
    assert not (tmp_path / 'it_ran').exists()
    assert (tmp_path / 'run/epoch_2.pth').is_file()


@pytest.mark.parametrize('option', [
    'load_from', 'model.teacher_ckpt', 'model.init_cfg.checkpoint',
    'model.backbone.init_cfg.checkpoint'])
def test_every_other_way_in_refuses_code(project, tmp_path, evil, option):
    options = [f'{option}={evil("meta", True)}']
    if 'init_cfg' in option:
        options.append(option.replace('checkpoint', 'type=Pretrained'))
    out = tool('train.py', 'distilled.py', '--work-dir', tmp_path / 'run',
               '--cfg-options', *options, cwd=project, ok=False)
    refused(out, tmp_path)


def test_the_test_tool_refuses_code(project, tmp_path, evil):
    out = tool('test.py', 'plain.py', evil('state_dict', True), '--work-dir',
               tmp_path / 'run', cwd=project, ok=False)
    refused(out, tmp_path)


@pytest.mark.parametrize('name', ['s3://a/b.pth', 'petrel://a/b.pth', 'pavi://a.pth'])
def test_storage_that_cannot_be_restricted_is_refused(project, tmp_path,
                                                      name):
    out = tool('test.py', 'plain.py', name, '--work-dir', tmp_path,
               cwd=project, ok=False)
    assert 'download the file and give its path' in out


def test_pretrained_backbones_come_through_the_same_door(
        project, tmp_path, evil, monkeypatch):
    """mmengine's own tables of URLs, and their hashes."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    hub = tmp_path / 'hub/checkpoints'
    hub.mkdir(parents=True)
    shutil.copy(evil('meta', False), hub / 'resnet18_v1c-b5776b93.pth')
    cfg = experiment(model_cfg(distiller_cfg('gfl')))
    cfg['model']['backbone']['init_cfg'] = dict(
        type='Pretrained', checkpoint='open-mmlab://resnet18_v1c')
    write(project / 'pretrained.py', cfg)
    out = tool('train.py', 'pretrained.py', '--work-dir', tmp_path / 'run',
               cwd=project, ok=False, env=dict(TORCH_HOME=str(tmp_path)))
    assert 'expected b5776b93 as its name says' in out
    assert not (tmp_path / 'it_ran').exists()
