"""Choosing the checkpoint that a run resumes from, the same on every rank."""
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

    Rank 0 looks for it and tells the others: ranks that resumed from
    different files would train different weights, and then wait for each
    other.

    Args:
        work_dir: the folder with the checkpoints, or with mmengine's file
            ``last_checkpoint``, which names the last one.

    Returns:
        str: path of the checkpoint; None if there is none.

    Raises:
        FileNotFoundError: ``last_checkpoint`` names a file that is not there,
            and there is no other checkpoint.
        ValueError: there are checkpoints, and none can be read.
        RuntimeError: on the other ranks, where rank 0 raised any error.
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
        raise RuntimeError(f'--resume failed on rank 0: {chosen[1]}')
    return chosen[0]


def on_all_ranks(load: Callable[[], None], what: str) -> None:
    """Load a file on every rank; an error on one rank is one on all.

    Args:
        load: reads the file, without communication between ranks.
        what: the option and its value, for messages.

    Raises:
        Exception: the error of this rank, or a RuntimeError that names a rank
            which failed.
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
            raise RuntimeError(f'{what} failed on rank {rank}: {error}')


def _newest_readable(work_dir: Path) -> str | None:
    unreadable: list[str] = []
    last, folders = _last(work_dir)
    # mmengine notes a checkpoint once it is written: nothing is newer
    newest = next(_readable([last] if last else [], unreadable), None)
    if newest is None:
        # N epochs and N iterations are no measure of each other; how far a
        # checkpoint has come stands in its meta
        kinds = [
            next(_readable(_numbered(kind, folders, last), unreadable), None)
            for kind in ('epoch', 'iter')
        ]
        newest = max((k for k in kinds if k), default=None)
    if newest is not None:
        return str(newest[1])
    if unreadable:
        raise ConfigValueError(
            f'--resume: no checkpoint in {work_dir} can be read; name one, '
            f'or begin anew in another work directory. {unreadable[0]}')
    return None


def _readable(paths: list[Path],
              unreadable: list[str]) -> Iterator[tuple[int, Path]]:
    """Iterations done and path, of each checkpoint that can be read."""
    for path in paths:
        try:
            yield _iterations(path), path
        except CheckpointError as e:
            unreadable.append(str(e))
            print_log(f'{e}. Trying the one before it', logger='current',
                      level=logging.WARNING)


def _iterations(path: Path) -> int:
    meta = load_from_allow_list(str(path), map_location='cpu').get('meta')
    done = meta.get('iter') if isinstance(meta, dict) else None
    if not isinstance(done, int):
        raise CheckpointError(
            f'checkpoint={str(path)!r}: does not say after how many '
            "iterations it was written (meta['iter']), so no run can "
            'resume from it')
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
    # work directories are moved and copied, so it may lie beside the note
    last = next((p for p in (noted, work_dir / noted.name) if p.is_file()),
                None)
    # with the hook's out_dir they lie elsewhere
    folders = [work_dir]
    if last is not None and last.parent != work_dir:
        folders.append(last.parent)
    elif last is None and noted != work_dir and noted.name and not any(
            _numbered(kind, folders, None) for kind in ('epoch', 'iter')):
        raise ConfigFileNotFoundError(
            f'--resume: {work_dir / NOTE} names {noted}, which is not there, '
            f'and there is no other checkpoint in {work_dir}; name one, or '
            'begin anew in another work directory')
    return last, folders
