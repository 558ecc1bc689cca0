"""Choosing the checkpoint from which all processes resume."""
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from mmengine.dist import all_gather_object, broadcast_object_list, get_rank
from mmengine.logging import print_log

from ..checkpoints.loading import CheckpointError, load_from_allow_list
from ..checkpoints.noted import NOTE, noted_checkpoint
from ..errors import ConfigFileNotFoundError, ConfigValueError, describe


def choose_checkpoint(work_dir: str) -> str | None:
    """The newest checkpoint that can be read.

    The first process looks for it and tells the others.  If they resumed from
    different files, they would train different weights, and then wait for
    each other.

    Args:
        work_dir: the folder with the checkpoints, or with mmengine's file
            ``last_checkpoint``, which names the last one.

    Returns:
        str: path of the checkpoint; None if there is none.

    Raises:
        FileNotFoundError: ``last_checkpoint`` names a file that does not
            exist, and there is no other checkpoint.
        ValueError: there are checkpoints, but none can be read.
        RuntimeError: in the other processes, if the first one raised an
            error.
    """
    chosen: list = [None, None]
    failure = None
    if get_rank() == 0:
        try:
            chosen[0] = _newest_readable(Path(work_dir))
        except Exception as e:  # the others must not wait for it
            failure, chosen[1] = e, describe(e)
    broadcast_object_list(chosen)
    if failure is not None:
        raise failure
    if chosen[1] is not None:
        raise RuntimeError(f'--resume failed in process 0: {chosen[1]}')
    return chosen[0]


def on_all_ranks(load: Callable[[], None], what: str) -> None:
    """Load a file in every process; if one fails, all raise an error.

    Args:
        load: reads the file, without communication between processes.
        what: the option and its value, for messages.

    Raises:
        Exception: the error of this process, or a RuntimeError that names a
            process which failed.
    """
    failure = None
    try:
        load()
    except Exception as e:
        failure = e
    found = all_gather_object(
        None if failure is None else describe(failure))
    if failure is not None:
        raise failure
    for rank, error in enumerate(found):
        if error is not None:
            raise RuntimeError(f'{what} failed in process {rank}: {error}')


def _newest_readable(work_dir: Path) -> str | None:
    unreadable: list[str] = []
    last, folders = _last(work_dir)
    # mmengine notes a checkpoint after writing it: no other file is newer
    newest = next(_readable([last] if last else [], unreadable), None)
    if newest is None:
        # epochs and iterations cannot be compared by their numbers; the meta
        # of a checkpoint has its iterations
        kinds = [
            next(_readable(_numbered(kind, folders, last), unreadable), None)
            for kind in ('epoch', 'iter')
        ]
        newest = max((k for k in kinds if k), default=None)
    if newest is not None:
        return str(newest[1])
    if unreadable:
        raise ConfigValueError(
            f'--resume: no checkpoint in {work_dir} can be read. Name another '
            'one, or start again in a new work directory. '
            f'{unreadable[0]}')
    return None


def _readable(paths: list[Path],
              unreadable: list[str]) -> Iterator[tuple[int, Path]]:
    """Iterations done and path, of each checkpoint that can be read."""
    for path in paths:
        try:
            yield _iterations(path), path
        except CheckpointError as e:
            unreadable.append(str(e))
            print_log(f'{e}. Trying the previous one', logger='current',
                      level=logging.WARNING)


def _iterations(path: Path) -> int:
    meta = load_from_allow_list(str(path), map_location='cpu').get('meta')
    done = meta.get('iter') if isinstance(meta, dict) else None
    if not isinstance(done, int):
        raise CheckpointError(
            f'checkpoint={str(path)!r}: has no number of iterations '
            "(meta['iter']), so training cannot resume from it")
    return done


def _numbered(kind: str, folders: list[Path],
              but: Path | None) -> list[Path]:
    """``epoch_N.pth`` or ``iter_N.pth``, the highest number first."""
    found = [(int(number[1]), path) for folder in folders
             for path in folder.glob(f'{kind}_*.pth')
             if path != but and (number := re.fullmatch(
                 rf'{kind}_(\d+)\.pth', path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _last(work_dir: Path) -> tuple[Path | None, list[Path]]:
    """The file that ``last_checkpoint`` names, and the folders to look in."""
    noted = noted_checkpoint(work_dir) or work_dir
    # a work directory may have been moved, so look next to the note, too
    last = next((p for p in (noted, work_dir / noted.name) if p.is_file()),
                None)
    # with the hook's out_dir they are in another folder
    folders = [work_dir]
    if last is not None and last.parent != work_dir:
        folders.append(last.parent)
    elif last is None and noted != work_dir and noted.name and not any(
            _numbered(kind, folders, None) for kind in ('epoch', 'iter')):
        raise ConfigFileNotFoundError(
            f'--resume: {work_dir / NOTE} names {noted}, which does not '
            f'exist, and there is no other checkpoint in {work_dir}. Name '
            'another one, or start again in a new work directory')
    return last, folders
