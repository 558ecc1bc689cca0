"""Telling errors in a config from defects, and showing them without noise."""
import dis
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

RAISE = dis.opmap['RAISE_VARARGS']
BYTE_ORDER_MARK = 'U+FEFF'
KINDS = (FileNotFoundError, TypeError, ValueError)


def is_for_user(error: BaseException) -> bool:
    """Whether this package raised the error on purpose, about a config.

    Its message is all that the user needs.  A TypeError that Python itself
    raises in this package's code is a defect of the package.
    """
    place = _place(error)
    return (place is not None and isinstance(error, KINDS)
            and _module(place).startswith('crosskd.')
            and place.tb_frame.f_code.co_code[place.tb_lasti] == RAISE)


def readable(error: Exception) -> Exception:
    """Find the error about the config inside those wrapped around it.

    Registries wrap an error once for each level of the config they build.

    Returns:
        Exception: the innermost error, without a traceback, if it is about
        the config; else the error itself.
    """
    root: BaseException = error
    while root.__context__ is not None and (
            root.__cause__ is not None or not root.__suppress_context__):
        root = root.__context__
    if isinstance(root, Exception) and is_for_user(root):
        return root.with_traceback(None)
    place = _place(root)
    if (place is not None and isinstance(root, KeyError)
            and _module(place).startswith('mmengine.registry')):
        return ValueError(f'config: {root.args[0]}')  # a type nobody knows
    is_encoded = isinstance(root, UnicodeDecodeError) or (
        isinstance(root, SyntaxError) and BYTE_ORDER_MARK in str(root))
    if is_encoded and (file := _config_of(root)):
        return ValueError(
            f'config {file!r}: {describe(root)}. Expected Python in UTF-8 '
            'without a byte order mark')
    return error


def describe(error: BaseException) -> str:
    """The type of an error and its message, for a message of ours.

    Where the message is empty, as of a bare ``assert``, the line of code that
    raised the error stands in its place.
    """
    text = _message(error)
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def words(error: BaseException) -> str:
    """As :func:`describe`, with the type only where there is no message."""
    return _message(error) if str(error).strip() else describe(error)


def _message(error: BaseException) -> str:
    text = str(error).strip()
    if text and not text.endswith(':'):
        return text
    # registries raise an error anew, with a text before its message
    root = error
    while root.__context__ is not None:
        root = root.__context__
    place = _place(root)
    if str(root).strip() or place is None:
        return text
    frame, = traceback.extract_tb(place)
    where = f'({Path(frame.filename).name}, line {frame.lineno})'
    return ' '.join(filter(None, (text, frame.line, where)))


@contextmanager
def for_users() -> Iterator[None]:
    """Raise errors about the config alone, without what is wrapped around."""
    try:
        yield
    except Exception as e:
        wrong = readable(e)
        if wrong is e and wrong.__traceback__ is not None:
            raise  # not about the config: its history matters
        raise wrong from None


def _place(error: BaseException) -> TracebackType | None:
    """The innermost entry of its traceback: where it was raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place


def _config_of(error: BaseException) -> str | None:
    """The config file that mmengine was reading, the innermost of bases."""
    found, place = None, error.__traceback__
    while place is not None:
        if _module(place).startswith('mmengine.config'):
            found = place.tb_frame.f_locals.get('filename', found)
        place = place.tb_next
    return None if found is None else str(found)


def _module(place: TracebackType) -> str:
    return place.tb_frame.f_globals.get('__name__', '')
