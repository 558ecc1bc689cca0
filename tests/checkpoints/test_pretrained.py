"""Pretrained files and mirrors: at hand before a run begins, or one error."""
import hashlib
import http.server
import json
import sys
import threading
from functools import partial

import mmengine
import pytest
import torch
from experiments import experiment, model_cfg, write
from helpers import batch, build, distiller_cfg, plain_cfg, total
from mmengine.runner.checkpoint import CheckpointLoader, _load_checkpoint
from tool_output import errors, written
from tool_server import run as tool

from crosskd.checkpoints import downloads
from crosskd.checkpoints.loading import CheckpointError
from crosskd.checkpoints.pretrained import check_pretrained
from crosskd.compat.mmengine_checkpoints import torchvision_urls

# whoever is asked for a file does not answer
NO_NETWORK = dict(https_proxy='http://127.0.0.1:9', no_proxy='')
RESNET = 'torchvision://resnet50'


def pretrained(path):
    return dict(type='Pretrained', checkpoint=path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub folder of torch's, and no network."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    for key, value in NO_NETWORK.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    folder = tmp_path / 'torch/hub/checkpoints'
    folder.mkdir(parents=True)
    return folder


def with_hash(content, name='file'):
    return f'{name}-{hashlib.sha256(content).hexdigest()[:8]}.pth'


@pytest.mark.parametrize('torchvision', [None, 'broken'])
def test_torchvision_is_not_needed_for_its_urls(monkeypatch, torchvision):
    """It may be missing, or built for another torch."""
    if torchvision == 'broken':

        class Broken:

            def __getattr__(self, name):
                raise RuntimeError('operator torchvision::nms does not exist')

        monkeypatch.setitem(sys.modules, 'torchvision', Broken())
    else:
        monkeypatch.setitem(sys.modules, 'torchvision', None)
    shipped = mmengine.load(
        f'{mmengine.__path__[0]}/hub/torchvision_0.12.json')
    assert torchvision_urls() == shipped
    assert shipped['resnet50'].endswith('resnet50-0676ba61.pth')


def test_mmengine_reads_the_scheme_without_torchvision(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    torch.save(dict(a=torch.ones(2)), hub / 'resnet50-0676ba61.pth')
    monkeypatch.setattr(downloads, '_sha256', lambda file: '0676ba61')
    check_pretrained(dict(backbone=dict(init_cfg=pretrained(RESNET))))
    if CheckpointLoader._get_checkpoint_loader(RESNET):
        assert _load_checkpoint(RESNET)['a'].tolist() == [1, 1]


@pytest.mark.parametrize('cfg, key', [
    (dict(backbone=dict(init_cfg=pretrained(RESNET))),
     'model.backbone.init_cfg.checkpoint'),
    (dict(init_cfg=pretrained('https://a.b/c-01234567.pth')),
     'model.init_cfg.checkpoint'),
    (dict(backbone=dict(stem=dict(init_cfg=[
        dict(type='Kaiming'), pretrained('modelzoo://resnet18')]))),
     r'model.backbone.stem.init_cfg\[1\].checkpoint'),
    (dict(neck=[dict(), dict(pretrained='open-mmlab://resnet101_caffe')]),
     r'model.neck\[1\].pretrained'),
    (dict(backbone=dict(init_cfg=dict(
        type='mmengine.model.PretrainedInit', checkpoint='gone.pth'))),
     'model.backbone.init_cfg.checkpoint')])
def test_a_file_that_cannot_be_had_names_the_key_at_its_depth(hub, cfg, key):
    with pytest.raises(FileNotFoundError, match=f'^{key}='):
        check_pretrained(cfg)


@pytest.mark.parametrize('path, words', [
    ('torchvision://resnet5',
     "'resnet5' is not in mmengine's list.*mean 'resnet5"),
    ('mmcls://vgg', "'vgg' is not in mmengine's list for mmcls://"),
    ('s3://bucket/a.pth', 'crosskd does not read this kind of')])
def test_names_and_storage_that_cannot_be(hub, path, words):
    with pytest.raises(ValueError, match=f'^model.a.init_cfg.*{words}'):
        check_pretrained(dict(a=dict(init_cfg=pretrained(path))))


def test_what_is_at_hand_is_no_error(hub, tmp_path):
    torch.save(dict(a=torch.ones(2)), tmp_path / 'weights')
    content = (tmp_path / 'weights').read_bytes()
    (hub / with_hash(content)).write_bytes(content)
    CheckpointLoader.register_scheme('elsewhere://', dict, force=True)
    check_pretrained(dict(
        backbone=dict(init_cfg=pretrained(
            f'https://a.b/{with_hash(content)}')),
        neck=dict(init_cfg=pretrained(str(hub / with_hash(content)))),
        bbox_head=dict(init_cfg=pretrained('elsewhere://somebody/s')),
        pretrained=None,
        # its checkpoint brings all weights
        teacher_config=dict(model=dict(
            backbone=dict(init_cfg=pretrained(RESNET))))))


def test_a_file_that_is_none_is_named(tmp_path):
    page = tmp_path / 'page.pth'
    page.write_text('<!DOCTYPE html>')
    for path, error in ((page, CheckpointError),
                        (f'file://{page}', FileNotFoundError)):
        with pytest.raises(error, match='^model.backbone.init_cfg.check'):
            check_pretrained(dict(backbone=dict(
                init_cfg=pretrained(str(path)))))


def test_a_file_put_there_by_hand_is_not_removed(hub):
    (hub / 'resnet50-0676ba61.pth').write_bytes(b'other')
    with pytest.raises(ValueError, match='resnet50-0676ba61.pth has the hash '
                       '.*expected 0676ba61.*; remove it'):
        check_pretrained(dict(backbone=dict(init_cfg=pretrained(RESNET))))
    assert (hub / 'resnet50-0676ba61.pth').is_file()


def test_a_run_says_so_before_it_writes(project, tmp_path):
    """Student and a plain detector alike; the teacher's are not needed."""
    teacher = pretrained('torchvision://resnet101')
    for make in (plain_cfg, distiller_cfg):
        model = model_cfg(make('gfl'))
        model['backbone'].update(init_cfg=pretrained(RESNET))
        if 'teacher_config' in model:
            model['teacher_config']['model']['backbone']['init_cfg'] = teacher
        write(project / 'pretrained.py', experiment(model, epochs=1))
        out = tool('train.py', 'pretrained.py', '--work-dir',
                   tmp_path / 'run', cwd=project, ok=False,
                   env=dict(NO_NETWORK, TORCH_HOME=str(tmp_path)))
        said = errors(out)
        assert len(said) == 1, out[-3000:]
        assert ('FileNotFoundError: model.backbone.init_cfg.checkpoint='
                "'https://download.pytorch.org/models/resnet50-0676ba61.pth'"
                in said[0])
        assert not written(tmp_path / 'run')
    model['backbone'].update(init_cfg=None)
    write(project / 'pretrained.py', experiment(model, epochs=1))
    tool('train.py', 'pretrained.py', '--work-dir', tmp_path / 'run',
         cwd=project, env=dict(NO_NETWORK, TORCH_HOME=str(tmp_path)))
    assert (tmp_path / 'run/epoch_1.pth').is_file()


def test_a_run_begins_with_a_file_in_the_hub_folder(project, tmp_path):
    """Named by a scheme of mmengine's, as the own-data configs name theirs."""
    model = model_cfg(plain_cfg('gfl'))
    backbone = build(model, seed=7).backbone
    torch.save(backbone.state_dict(), tmp_path / 'weights')
    content = (tmp_path / 'weights').read_bytes()
    hub = tmp_path / 'torch/hub/checkpoints'
    hub.mkdir(parents=True)
    (hub / with_hash(content, 'mine')).write_bytes(content)
    (tmp_path / 'open_mmlab.json').write_text(json.dumps(
        dict(mine=f'https://a.b/{with_hash(content, "mine")}')))
    model['backbone'].update(init_cfg=pretrained('open-mmlab://mine'))
    cfg = experiment(model, epochs=1)
    cfg['optim_wrapper']['optimizer'].update(lr=0.0, weight_decay=0.0)
    write(project / 'in_hub.py', cfg)
    tool('train.py', 'in_hub.py', '--work-dir', tmp_path / 'run', cwd=project,
         env=dict(NO_NETWORK, TORCH_HOME=str(tmp_path / 'torch'),
                  MMENGINE_HOME=str(tmp_path)))
    saved = torch.load(tmp_path / 'run/epoch_1.pth', weights_only=False)
    for name, value in backbone.named_parameters():
        assert torch.equal(saved['state_dict'][f'backbone.{name}'], value)


# -- mirrors ----------------------------------------------------------------


def test_a_mirror_is_asked_where_the_host_does_not_answer(
        tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(downloads, 'print_log',
                        lambda text, *_: said.append(text))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv(downloads.ALLOW_HTTP, '1')
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    served = tmp_path / 'served/v2.0/gfl'
    served.mkdir(parents=True)
    content = b'weights of a teacher'
    name = with_hash(content)
    (served / name).write_bytes(content)
    handler = partial(http.server.SimpleHTTPRequestHandler,
                      directory=tmp_path / 'served')
    host = 'http://127.0.0.1:9/'
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        mirror = f'http://127.0.0.1:{httpd.server_port}/'
        monkeypatch.setattr(downloads, 'MIRRORS', {host: mirror})
        file = downloads.download(f'{host}v2.0/gfl/{name}', 'teacher_ckpt')
        assert file.read_bytes() == content
        (line, ) = [x for x in said if 'downloading' not in x]
        assert f'{host}v2.0' in line and f'{mirror}v2.0' in line
        # neither has it: both are named
        with pytest.raises(FileNotFoundError) as error:
            downloads.download(f'{host}v2.0/t-01234567.pth', 'teacher_ckpt')
        assert str(error.value).startswith('teacher_ckpt=')
        assert f'{host}v2.0/t-01' in str(error.value)
        assert f'{mirror}v2.0/t-01' in str(error.value)
        # a name that holds no hash says nothing of what a mirror has
        with pytest.raises(FileNotFoundError) as error:
            downloads.download(f'{host}v2.0/gfl/t.pth', 'teacher_ckpt')
        assert mirror not in str(error.value)
        httpd.shutdown()


def test_the_published_mirror_has_mmdets_paths():
    assert downloads.MIRRORS == {
        'https://download.openmmlab.com/': 'https://mmassets.onedl.ai/'}


def test_random_teachers_need_no_file(hub):
    cfg = distiller_cfg('gfl')
    cfg['teacher_config']['model']['backbone']['init_cfg'] = pretrained(RESNET)
    assert total(build(cfg).loss(*batch()))
