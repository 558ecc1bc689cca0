"""A lock, so that two processes do not train into the same folder."""
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = '.training'


class Taken(Exception):
    """Another process is training into the folder; the message is its id."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock a folder; create it if it does not exist.

    The lock belongs to an open file, and to every process that inherits this
    file.  If a training outlives the command that started it, the next command
    notices.

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
            pass  # this file system does not support locks
        yield file.fileno()


def note(file: int, process: int) -> None:
    """Write the id of the training process into a locked file."""
    os.ftruncate(file, 0)
    os.write(file, str(process).encode())
