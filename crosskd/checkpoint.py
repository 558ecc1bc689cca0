"""Checkpoints from files and URLs, without running any code in them."""
import hashlib
import pickle
import re
from pathlib import Path
from urllib.parse import urlparse

import torch
from filelock import FileLock

from .unpickler import Refused, allow_list_pickle

# mmdet's names end in -<start of the sha256>.pth; eight digits can be a date
HASH_IN_NAME = re.compile(r'-(?!20\d{6}\.)([a-f0-9]{8,64})\.[^./]+$')


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
            raise Refused('a TorchScript program')
        checkpoint = torch.load(
            file,
            map_location='cpu',
            weights_only=False,
            pickle_module=pickle if trusted else allow_list_pickle)
    except Refused as e:
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
    with open(file, 'rb') as f:
        if f.read(4) != b'PK\x03\x04':
            return False
    # torch's own reader: another one may see another archive in the file
    records = torch._C.PyTorchFileReader(str(file)).get_all_records()
    return any(name.endswith('constants.pkl') for name in records)


def _download(url: str, found: str) -> Path:
    """Fetch a URL once into torch's hub folder and check its hash."""
    name = Path(urlparse(url).path).name
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    folder.mkdir(parents=True, exist_ok=True)
    published = HASH_IN_NAME.search(name)
    if not published:  # such a name can stand for many files
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}_{name}'
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
