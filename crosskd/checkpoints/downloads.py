"""Downloading files once, and checking the hashes in their names."""
import hashlib
import logging
import os
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlparse

import torch
from filelock import FileLock
from mmengine.logging import print_log

from ..errors import ConfigFileNotFoundError, ConfigValueError, words

# mmdet's names end in -<start of the sha256>.pth; eight digits may be a date
HASH_IN_NAME = re.compile(r'-(?!20\d{6}\.)([a-f0-9]{8,64})\.[^./]+$')
ALLOW_HTTP = 'CROSSKD_ALLOW_HTTP'
# hosts that publish the same files under the same names
MIRRORS = {'https://download.openmmlab.com/': 'https://mmassets.onedl.ai/'}


def is_url(path: str) -> bool:
    """Whether ``path`` is an http(s) URL."""
    return urlparse(path).scheme in ('http', 'https')


def download(url: str, key: str) -> Path:
    """Fetch a URL once into torch's hub folder and check its hash.

    A file that was downloaded before is used again.  If the host cannot be
    reached, its mirror is tried for files whose names contain a hash.

    Args:
        url: an https URL; plain http needs the environment variable
            ``CROSSKD_ALLOW_HTTP=1``.
        key: config key of the URL, for messages.

    Returns:
        Path: the file.

    Raises:
        FileNotFoundError: it cannot be downloaded.
        ValueError: it is an http URL, or the hash differs from the one in the
            name.
    """
    found = f'{key}={url!r}'
    if urlparse(url).scheme != 'https' and os.environ.get(ALLOW_HTTP) != '1':
        raise ConfigValueError(
            f'{found}: a file can be changed on its way over http; use '
            f'https, or set the environment variable {ALLOW_HTTP}=1')
    name = Path(urlparse(url).path).name
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    folder.mkdir(parents=True, exist_ok=True)
    published = HASH_IN_NAME.search(name)
    if not published:  # different files can have such a name
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}_{name}'
    file = folder / name
    # processes share the folder; it may be read-only if the file is there
    with nullcontext() if file.is_file() else FileLock(f'{file}.lock'):
        new = not file.is_file()
        if new:
            _fetch(url, file, key, bool(published))
        if published and not _sha256(file).startswith(published[1]):
            found_hash = _sha256(file)[:len(published[1])]
            if new:
                file.unlink()
            raise ConfigValueError(
                f'{found}: {"the downloaded file" if new else file} has the '
                f'hash {found_hash}, expected {published[1]} as its name '
                f'says; {"it was removed" if new else "remove it"}')
    return file


def _fetch(url: str, file: Path, key: str, has_hash: bool) -> None:
    """Download from the URL, or from a mirror if a hash can be checked."""
    sources = [url]
    if has_hash:
        sources += [mirror + url.removeprefix(host)
                    for host, mirror in MIRRORS.items()
                    if url.startswith(host)]
    errors = []
    for source in sources:
        try:
            print_log(f'{key}: downloading {source!r}', 'current')
            # no progress bar in a file, where each step would be a line
            torch.hub.download_url_to_file(source, str(file),
                                           progress=sys.stderr.isatty())
        except OSError as e:
            errors.append(words(e) if source == url else
                          f'{source!r}: {words(e)}')
            continue
        if errors:
            print_log(f'{key}: no answer from {url!r}; taken from its mirror '
                      f'{source!r}', 'current', logging.WARNING)
        return
    raise ConfigFileNotFoundError(
        f'{key}={url!r}: cannot be downloaded ({"; ".join(errors)}). If this '
        'machine cannot reach the host, download the file elsewhere and put '
        f'it at {file}, or give its path: {key}=/path/to/file.pth')


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, 'rb') as f:
        for block in iter(lambda: f.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()
