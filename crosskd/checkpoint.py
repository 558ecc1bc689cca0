"""Checkpoints from files and URLs, unpickled by an allow-list.

A pickle can name any callable; unpickling it runs that callable.  Here only
the names below exist: tensors, plain containers, numpy arrays and scalars, and
what mmengine's own checkpoints hold.  torch's ``weights_only`` does the same
in principle, but what it allows differs between the supported versions and
older ones cannot be extended.
"""
import _codecs
import collections
import hashlib
import pickle
import re
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, Tuple
from urllib.parse import urlparse

import numpy as np
import torch
from filelock import FileLock
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

ALLOWED: Dict[Tuple[str, str], Any] = {
    (thing.__module__, thing.__name__): thing
    for thing in (set, frozenset, complex, bytearray, int, float, bool, str,
                  list, dict, tuple, collections.OrderedDict,
                  collections.defaultdict, collections.deque,
                  collections.Counter, _codecs.encode, np.ndarray, np.dtype,
                  torch.Size, torch.device, torch._utils._rebuild_tensor,
                  torch._utils._rebuild_tensor_v2,
                  torch._utils._rebuild_parameter, HistoryBuffer, ConfigDict)
}
for _core in ('core', '_core'):  # numpy 1 and 2 name the same module so
    _module = f'numpy.{_core}.multiarray'
    ALLOWED[_module, 'scalar'] = np.float64(0).__reduce__()[0]
    ALLOWED[_module, '_reconstruct'] = np.empty(0).__reduce__()[0]

# mmengine pickles the methods of a HistoryBuffer through getattr
HISTORY_METHODS = ('min', 'max', 'current', 'mean')

HASH_IN_NAME = re.compile(r'-([a-f0-9]{8,64})\.[^./]+$')


class _Refused(pickle.UnpicklingError):
    """A pickle named something that is not on the allow-list."""


def _getattr(owner: Any, name: str) -> Any:
    if owner is not HistoryBuffer or name not in HISTORY_METHODS:
        raise _Refused(f'builtins.getattr of {name!r}')
    return getattr(owner, name)


ALLOWED['builtins', 'getattr'] = _getattr


class _AllowListUnpickler(pickle.Unpickler):

    def find_class(self, module: str, name: str) -> Any:
        if module == 'torch':
            value = getattr(torch, name, None)
            if isinstance(value, torch.dtype) or name.endswith('Storage'):
                return value
        # protocol 2 keeps Python 2's name of the builtins
        key = (module.replace('__builtin__', 'builtins'), name)
        if key not in ALLOWED:
            raise _Refused(f'{module}.{name}')
        return ALLOWED[key]


# What torch.load asks of a ``pickle_module``.
_allow_list_pickle = ModuleType('crosskd.checkpoint.allow_list_pickle')
_allow_list_pickle.Unpickler = _AllowListUnpickler  # type: ignore
_allow_list_pickle.load = (  # type: ignore
    lambda file, **kwargs: _AllowListUnpickler(file, **kwargs).load())


def is_url(path: str) -> bool:
    """Whether ``path`` is an http(s) URL."""
    return urlparse(path).scheme in ('http', 'https')


def load_checkpoint(path: str, key: str, trust_key: str,
                    trusted: bool = False) -> dict:
    """Load a checkpoint to the CPU without running any code in it.

    Args:
        path: a file, or an http(s) URL that is downloaded to torch's hub
            folder and checked against the hash in its name.
        key: config key that named the file, for messages.
        trust_key: config key that allows unrestricted unpickling, for
            messages.
        trusted: unpickle without restriction.

    Returns:
        dict: the checkpoint.

    Raises:
        FileNotFoundError: no such file, or the URL cannot be reached.
        ValueError: not a checkpoint, a wrong hash, or a checkpoint that
            names something outside the allow-list; nothing of it was run.
    """
    found = f'{key}={path!r}'
    file = Path(path).expanduser()
    if is_url(path):
        file = _download(path, found)
    elif not file.is_file():
        raise FileNotFoundError(
            f'{found}: no such file (looked from {Path.cwd()}); expected the '
            "path or URL of a checkpoint of teacher_config's model")
    try:
        if not trusted and _is_torchscript(file):
            raise _Refused('a TorchScript program')
        checkpoint = torch.load(
            file,
            map_location='cpu',
            weights_only=False,
            pickle_module=pickle if trusted else _allow_list_pickle)
    except _Refused as e:
        raise ValueError(
            f"{found}: refused, because it names '{e}', which is not on "
            'the allow-list of things a checkpoint may hold; nothing of it '
            f'was run. If you trust the file, set {trust_key}=True') from None
    except Exception as e:
        with open(file, 'rb') as f:
            start = f.read(16)
        raise ValueError(
            f'{found}: not a checkpoint that torch can read, or a truncated '
            f'one ({file.stat().st_size} bytes, beginning with {start!r}): '
            f'{type(e).__name__}: {e}') from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{found}: expected a dict with a state_dict, found '
                         f'a {type(checkpoint).__name__}')
    return checkpoint


def _is_torchscript(file: Path) -> bool:
    """Whether torch.load would hand the file to torch.jit, which runs it."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(n.endswith('constants.pkl') for n in archive.namelist())


def _download(url: str, found: str) -> Path:
    """Fetch a URL once into torch's hub folder and check its hash."""
    name = Path(urlparse(url).path).name
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    with FileLock(f'{file}.lock'):  # ranks of one machine share the folder
        if not file.is_file():
            try:
                torch.hub.download_url_to_file(url, str(file))
            except OSError as e:
                raise FileNotFoundError(
                    f'{found}: cannot be downloaded ({e}). Where the host is '
                    'not reachable, fetch the file elsewhere and name it: '
                    '--cfg-options model.teacher_ckpt=/path/to/file.pth'
                ) from None
        published = HASH_IN_NAME.search(name)
        if published and not _sha256(file).startswith(published[1]):
            found_hash = _sha256(file)[:len(published[1])]
            file.unlink()
            raise ValueError(
                f'{found}: the downloaded file has the hash {found_hash}, '
                f'expected {published[1]} as its name says; it was removed')
    return file


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, 'rb') as f:
        for block in iter(lambda: f.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()
