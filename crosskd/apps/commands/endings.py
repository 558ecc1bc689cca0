"""How a command ends if it cannot continue."""
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import describe, readable


@contextmanager
def told_without_traceback(prog: str, interrupted: str = 'interrupted',
                           with_type: bool = False) -> Iterator[None]:
    """End the process with one line if the user's input cannot be used.

    Args:
        prog: how the command was called.
        interrupted: the message if the user stops the command.
        with_type: start the line with the type of the error instead of
            ``prog``, as Python does at the end of a traceback.

    Raises:
        SystemExit: with that line, or with 130 after Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f'{prog}: {interrupted}', file=sys.stderr)
        sys.exit(130)
    except Exception as e:
        wrong = readable(e)
        if wrong is e and wrong.__traceback__ is not None:
            raise  # a bug: the traceback is needed
        sys.exit(describe(wrong) if with_type else f'{prog}: {wrong}')
