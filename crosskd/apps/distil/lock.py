"""Keeping two processes from training into the same folder."""
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = '.training'


class Taken(Exception):
    """Another process trains into the folder; its id is the message."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock a folder, which is made if it is not there.

    The lock is that of an open file.  Processes that inherit the file hold
    the lock, too: a training that outlives the command that started it is
    found by the next command.

    Args:
        folder: the work directory of a training.

    Yields:
        int: the open file, for ``pass_fds`` of the training.

    Raises:
        Taken: another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / NAME, 'a+', encoding='utf-8') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Taken(file.read().strip()) from None
        except OSError:
            pass  # a file system that knows no locks
        yield file.fileno()


def note(file: int, process: int) -> None:
    """Write into a locked file which process trains."""
    os.ftruncate(file, 0)
    os.write(file, str(process).encode())
