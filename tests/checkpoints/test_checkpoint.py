"""Loading by allow-list: what must load, and what must not run."""
import collections
import hashlib
import http.server
import io
import os
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import load
from helpers import Writes
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

from crosskd.checkpoints.downloads import ALLOW_HTTP
from crosskd.checkpoints.loading import load_checkpoint


def test_what_mmengine_writes_loads(tmp_path):
    weight = torch.nn.Parameter(torch.randn(3, 4))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    history = HistoryBuffer()
    history.update(0.5)
    saved = dict(
        meta=dict(epoch=3, classes=('a', 'b'), cfg='model = dict()',
                  seed=np.int64(5), lr=np.float32(0.1), flag=np.bool_(True),
                  nested=ConfigDict(a=dict(b=1)), kinds={1, 2}),
        state_dict=collections.OrderedDict(
            w=weight.detach(), half=torch.ones(2).half(),
            long=torch.arange(3), brain=torch.ones(2).bfloat16()),
        message_hub=dict(log_scalars=collections.OrderedDict(loss=history),
                         array=np.arange(6.).reshape(2, 3)),
        optimizer=optimizer.state_dict(),
        parameter=weight)
    for number, legacy in enumerate((False, True)):
        path = tmp_path / f'{number}.pth'
        torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
        got = load(path)
        assert torch.equal(got['state_dict']['w'], weight)
        assert got['state_dict']['brain'].dtype == torch.bfloat16
        assert got['meta'] == saved['meta']
        loss = got['message_hub']['log_scalars']['loss']
        assert loss.current() == 0.5
        assert np.array_equal(got['message_hub']['array'],
                              saved['message_hub']['array'])
        assert len(got['optimizer']['state']) == 1


def test_numpy_of_either_version_loads(tmp_path):
    data = io.BytesIO()
    torch.save(dict(seed=np.float64(2.5)), data)
    path = tmp_path / 'other_numpy.pth'
    torch.save(dict(seed=np.float64(2.5)), path,
               _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    for old, new in ((b'numpy.core.multiarray', b'numpy._core.multiarray'),
                     (b'numpy._core.multiarray', b'numpy.core.multiarray')):
        path.write_bytes(raw.replace(old, new))
        assert load(path)['seed'] == 2.5


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('place', ['meta', 'state_dict', 'optimizer'])
def test_code_is_refused_before_it_runs(tmp_path, place, legacy):
    trap = tmp_path / 'it_ran'
    path = tmp_path / 'evil.pth'
    checkpoint = dict(meta={}, state_dict=dict(w=torch.ones(2)), optimizer={})
    checkpoint[place]['x'] = Writes(trap)
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match='trust_teacher_ckpt=True') as error:
        load(path)
    assert 'system' in str(error.value) and not trap.exists()
    load(path, trusted=True)  # the trap works, so the test means something
    assert trap.exists()


@pytest.mark.parametrize('name', [
    'builtins.eval', 'collections.OrderedDict.fromkeys',
    'torch.load', 'torch.hub.load', 'numpy.load'
])
def test_other_callables_are_refused(tmp_path, name):
    module, attribute = name.split('.', 1)
    if name.count('.') == 2 and module == 'torch':
        module, attribute = 'torch.hub', 'load'
    # protocol 4 can name attributes of attributes
    payload = (pickle.PROTO + b'\x04' + pickle.SHORT_BINUNICODE +
               bytes([len(module)]) + module.encode() +
               pickle.SHORT_BINUNICODE + bytes([len(attribute)]) +
               attribute.encode() + pickle.STACK_GLOBAL + pickle.STOP)
    path = tmp_path / 'evil.pkl'
    path.write_bytes(payload)
    with pytest.raises(ValueError, match='allow-list'):
        load(path)


def test_getattr_serves_history_buffers_alone(tmp_path):

    class Reach:

        def __init__(self, *args):
            self.args = args

        def __reduce__(self):
            return getattr, self.args

    path = tmp_path / 'evil.pth'
    for owner, name in ((dict, 'fromkeys'), (HistoryBuffer, '__init__')):
        torch.save(dict(x=Reach(owner, name)), path)
        with pytest.raises(ValueError, match=f"getattr of '{name}'"):
            load(path)
    torch.save(dict(x=Reach(HistoryBuffer, 'mean')), path)
    assert load(path)['x'] is HistoryBuffer.mean


def test_torchscript_is_refused(tmp_path):
    path = tmp_path / 'program.pt'
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(ValueError, match='TorchScript'):
        load(path)
    # a comment that looks like an archive's end: Python's zipfile is fooled
    raw = path.read_bytes()
    assert raw[-2:] == b'\0\0'
    path.write_bytes(raw[:-2] + b'\x0c\0' + b'PK\x05\x06' + bytes(8))
    with pytest.raises(ValueError, match='TorchScript|not a checkpoint'):
        load(path)


def pickled(*parts):
    """A pickle of opcodes, by hand."""
    return pickle.PROTO + b'\x02' + b''.join(parts) + pickle.STOP


def test_numpy_types_cannot_lie_about_objects(tmp_path):
    # dtype('O') that a state turns into one without objects, then an array
    # over bytes of the attacker's: memory corruption, were it allowed
    path = tmp_path / 'evil.pkl'
    for spec in ('O', 'V8'):
        path.write_bytes(pickled(
            b'cnumpy\ndtype\n', b'(X', bytes([len(spec), 0, 0, 0]),
            spec.encode(), b'tR'))
        with pytest.raises(ValueError, match=f"numpy.dtype '{spec}'"):
            load(path)
    path.write_bytes(pickled(b'cnumpy\nndarray\n', b'(K\x01tR'))
    with pytest.raises(ValueError, match='not a checkpoint'):
        load(path)


@pytest.mark.parametrize('thing', [
    b'cbuiltins\ngetattr\n', b'c_codecs\nencode\n',
    b'ctorch._utils\n_rebuild_tensor_v2\n', b'cbuiltins\ndict\n'])
def test_a_state_is_for_known_types_alone(tmp_path, thing):
    path = tmp_path / 'evil.pkl'
    path.write_bytes(pickled(thing, b'}X\x01\0\0\0xK\x01sb'))
    with pytest.raises(ValueError, match='refused.*a state for a'):
        load(path)


@pytest.mark.parametrize('content', [
    b'', b'<!DOCTYPE html><html>404</html>', b'PK\x03\x04 no archive'
])
def test_what_is_no_checkpoint_is_said_so(tmp_path, content):
    path = tmp_path / 'teacher.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='not a checkpoint') as error:
        load(path)
    assert 'teacher_ckpt=' in str(error.value)


def test_safetensors_are_said_to_be_none_that_torch_reads(
        tmp_path, monkeypatch):
    """Without that package; torch 2.1 takes the file for a pickle."""
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    path = tmp_path / 'teacher.safetensors'
    path.write_bytes(b'\x02' + bytes(7) + b'{}')
    with pytest.raises(ValueError, match='x=.*teacher.safetensors.*: not a '
                       'checkpoint that torch can read'):
        load_checkpoint(str(path), 'x', '')


def test_truncated_and_list_files(tmp_path):
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=dict(w=torch.randn(100, 100))), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match='truncated.*2000 bytes'):
        load(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match='found a list'):
        load(path)
    with pytest.raises(FileNotFoundError, match='no such file'):
        load(tmp_path / 'missing.pth')


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that is served on this machine, and the hub folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    monkeypatch.setenv(ALLOW_HTTP, '1')
    folder = tmp_path / 'served'
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):

        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quiet) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f'http://127.0.0.1:{httpd.server_port}'
        httpd.shutdown()


def test_url_is_fetched_once_and_its_hash_checked(server):
    folder, url = server
    torch.save(dict(state_dict=dict(w=torch.ones(2))), folder / 'raw.pth')
    content = (folder / 'raw.pth').read_bytes()
    right = hashlib.sha256(content).hexdigest()[:8]
    good = f'teacher_20200629-{right}.pth'
    (folder / good).write_bytes(content)
    assert torch.equal(
        load(f'{url}/{good}')['state_dict']['w'], torch.ones(2))
    (folder / good).unlink()  # the second time nothing is fetched
    load(f'{url}/{good}')

    dated = 'teacher-20200629.pth'  # a date, not a hash
    (folder / dated).write_bytes(content)
    load(f'{url}/{dated}')
    bad = 'teacher_20200629-0badc0de.pth'
    (folder / bad).write_bytes(content)
    with pytest.raises(ValueError, match=f'hash {right}, expected 0badc0de'):
        load(f'{url}/{bad}')
    hub = Path(os.environ['TORCH_HOME'], 'hub', 'checkpoints')
    assert not (hub / bad).exists()


def test_plain_http_needs_an_opt_in(server, monkeypatch):
    folder, url = server
    torch.save(dict(w=torch.ones(1)), folder / 'a.pth')
    monkeypatch.delenv(ALLOW_HTTP)
    with pytest.raises(ValueError, match=f'http.*{ALLOW_HTTP}=1'):
        load(f'{url}/a.pth')
    monkeypatch.setenv(ALLOW_HTTP, '1')
    assert load(f'{url}/a.pth')


def test_url_that_cannot_be_reached_says_what_to_do(server):
    _, url = server
    with pytest.raises(FileNotFoundError, match='teacher_ckpt=/path'):
        load(f'{url}/missing-12345678.pth')
    with pytest.raises(FileNotFoundError, match='cannot be downloaded'):
        load('http://127.0.0.1:9/closed-12345678.pth')
