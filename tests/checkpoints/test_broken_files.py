"""Which files are broken, and what only looks like it."""
import os
import random
import re

import pytest
import torch
from checkpoint_files import load
from tool_server import run as tool

from crosskd.checkpoints.loading import CheckpointError


@pytest.mark.parametrize('error', [
    MemoryError(), PermissionError(13, 'denied'), OSError(5, 'no disk'),
    torch.cuda.OutOfMemoryError('CUDA out of memory'),
    RuntimeError('CUDA error: an illegal memory access was encountered'),
    RuntimeError('open file failed because of errno 24 on fopen: Too many '
                 'open files, file path: a.pth'),
    RuntimeError('PytorchStreamReader failed reading zip archive: '
                 'allocation failed')], ids=str)
def test_a_machine_in_trouble_is_no_broken_file(tmp_path, monkeypatch, error):
    torch.save(dict(w=torch.ones(1)), tmp_path / 'a.pth')

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr('crosskd.checkpoints.loading._torch_load', fail)
    with pytest.raises(type(error)) as found:
        load(tmp_path / 'a.pth')
    assert found.value is error


LIMITED = '''
import re
import resource
import sys

import torch

from crosskd.checkpoints.loading import load_checkpoint
from crosskd.engine.resuming import choose_checkpoint


def limited(read, *args):
    """Name of the error where there is memory for half of the file."""
    used = re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())
    limit = (int(used[1]) << 10) + (8 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        read(*args)
    except Exception as e:
        return f'{type(e).__name__}: {e}'
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, ) * 2)


torch.set_num_threads(1)
torch.load('epoch_1.pth', weights_only=True)  # what it imports, it has
for name in ('zip.pth', 'legacy.pth'):
    print(name, limited(load_checkpoint, name, 'teacher_ckpt', ''))
    load_checkpoint(name, 'teacher_ckpt', '')
print('resume', limited(choose_checkpoint, '.'))
print('chosen', choose_checkpoint('.'))
'''


def test_a_file_that_does_not_fit_into_memory_is_not_broken(tmp_path):
    """With a real limit; nor does --resume pass it over."""
    small = dict(meta=dict(iter=4), state_dict=dict(w=torch.zeros(1)))
    # 36 MiB, more than malloc keeps for later
    large = dict(meta=dict(iter=8), state_dict=dict(w=torch.zeros(9 << 20)))
    torch.save(small, tmp_path / 'epoch_1.pth')
    torch.save(large, tmp_path / 'zip.pth')
    os.link(tmp_path / 'zip.pth', tmp_path / 'epoch_2.pth')
    torch.save(large, tmp_path / 'legacy.pth',
               _use_new_zipfile_serialization=False)
    (tmp_path / 'limited.py').write_text(LIMITED)
    out = tool(tmp_path / 'limited.py', cwd=tmp_path)
    for what in ('zip.pth', 'legacy.pth', 'resume'):
        assert re.search(f"^{what} RuntimeError: .*DefaultCPUAllocator: can't "
                         'allocate memory', out, re.MULTILINE), out
    assert 'chosen epoch_2.pth' in out


@pytest.mark.parametrize('legacy', [False, True])
def test_a_damaged_file_is_a_broken_one(tmp_path, legacy):
    """Cut anywhere, or with bytes changed anywhere."""
    path, rng = tmp_path / 'a.pth', random.Random(0)
    layer = torch.nn.Linear(3, 4)
    torch.save(dict(meta=dict(iter=1, cfg='x' * 300),
                    state_dict=layer.state_dict()), path,
               _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    broken = 0
    for _ in range(200):
        path.write_bytes(whole[:rng.randrange(len(whole))])
        with pytest.raises((CheckpointError, ValueError)):
            load(path)
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= rng.randrange(1, 256)
        path.write_bytes(changed)
        try:
            load(path)
        except CheckpointError:
            broken += 1
        except (MemoryError, ValueError):  # a size; a name that is refused
            pass
    assert broken > 20
