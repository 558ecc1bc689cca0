"""Loading checkpoints from files and URLs without running code in them."""
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch

from ..arguments import missing
from ..errors import ConfigValueError, describe
from .allow_list import Refused, allow_list_pickle
from .downloads import download, is_url

# these schemes as mmengine writes them
REFUSED_STORAGE = ('pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')
# the first line of torch's message about a broken archive or legacy file; a
# C++ backtrace may follow
OF_THE_FILE = re.compile(
    r'^(?!.*allocation failed).*(PytorchStreamReader|inline_container|'
    r'safetensors|'
    r'hasRecord|record size|corrupt|Invalid magic number|'
    r'Invalid protocol version|unexpected EOF|wrong byte size|'
    r'Unknown saved id|resize storage|bounds for storage)')
# errors that unpickling raises for senseless instructions
NONSENSE = (EOFError, pickle.UnpicklingError, struct.error, LookupError,
            ValueError, TypeError, AttributeError, AssertionError, ImportError,
            ArithmeticError)


_torch_load = torch.load


class CheckpointError(ConfigValueError):
    """A file is not a checkpoint, or is a truncated one."""


def load_checkpoint(path: str, key: str, if_refused: str,
                    trusted: bool = False, map_location: Any = 'cpu') -> dict:
    """Load a checkpoint without running any code in it.

    Args:
        path: a file, or an https URL that is downloaded to torch's hub folder
            and checked against the hash in its name.  Plain http needs the
            environment variable ``CROSSKD_ALLOW_HTTP=1``.
        key: config key of the file, for messages.
        if_refused: advice if the file is refused, for messages.
        trusted: unpickle without restriction.
        map_location: as for ``torch.load``.

    Returns:
        dict: the checkpoint.

    Raises:
        FileNotFoundError: no such file, or the URL cannot be reached.
        CheckpointError: not a checkpoint, or a truncated one.
        ValueError: an http URL, a wrong hash, or a checkpoint with something
            that is not on the allow-list; none of its code was run.
    """
    found = f'{key}={path!r}'
    file = Path(path).expanduser()
    if is_url(path):
        file = download(path, key)
    elif not file.is_file():
        raise missing(key, path, 'the path or URL of a checkpoint')
    try:
        if not trusted and _is_torchscript(file):
            raise Refused('a TorchScript program')
        checkpoint = _torch_load(
            file,
            map_location=map_location,
            weights_only=False,
            pickle_module=pickle if trusted else allow_list_pickle)
    except Refused as e:
        raise ConfigValueError(
            f"{found}: refused, because it contains '{e}', which is not on "
            'the allow-list for checkpoints; none of its code was run. '
            f'{if_refused}') from None
    except Exception as e:
        if not _is_about_the_file(e):
            raise  # resuming must not skip a good file
        with open(file, 'rb') as f:
            start = f.read(16)
        raise CheckpointError(
            f'{found}: not a checkpoint that torch can read, or a truncated '
            f'one ({file.stat().st_size} bytes, beginning with {start!r}): '
            f'{describe(e)}') from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{found}: expected a dict with a state_dict, found a '
            f'{type(checkpoint).__name__}')
    return checkpoint


# mmengine's log leaves out the first ten letters of these names
def load_from_allow_list(filename: str, map_location: Any = None,
                         **kwargs: Any) -> dict:
    """mmengine's interface to :func:`load_checkpoint`.

    A ``config`` in its meta is left out: mmengine no longer writes one, but
    would run it as a program when it resumes.
    """
    checkpoint = load_checkpoint(
        filename, 'checkpoint',
        'If you trust the file, save only its weights to a new one: '
        "torch.save(dict(state_dict=torch.load(file, weights_only=False)["
        "'state_dict']), new_file)", map_location=map_location)
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint


def load_from_elsewhere(filename: str, map_location: Any = None,
                        key: str = 'checkpoint') -> dict:
    """Refuse storage whose loaders unpickle without restriction."""
    raise ConfigValueError(
        f'{key}={filename!r}: crosskd does not read this kind of storage, '
        'because its loader could run code from the file; download the file '
        'and give its path')


def _is_about_the_file(error: Exception) -> bool:
    """Whether an error from reading a file means that the file is broken.

    A broken file is not an archive or pickle, ends too early, or has
    senseless instructions.  torch raises RuntimeErrors for broken archives,
    but also for problems of the machine (no memory on CPU or GPU, no such
    device, too many open files); so for these the text decides.
    """
    if isinstance(error, RuntimeError):
        return bool(OF_THE_FILE.search(str(error)))
    return isinstance(error, NONSENSE)


def _is_torchscript(file: Path) -> bool:
    """Whether torch.load would hand the file to torch.jit, which runs it."""
    with open(file, 'rb') as f:
        if f.read(4) != b'PK\x03\x04':
            return False
    # torch's own reader, because another may find another archive in the file
    records = torch._C.PyTorchFileReader(str(file)).get_all_records()
    return any(name.endswith('constants.pkl') for name in records)
