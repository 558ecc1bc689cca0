"""Errors about the user's input, and showing them without noise."""
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from .mmengine_errors import meaning

BYTE_ORDER_MARK = 'U+FEFF'


class ConfigError(Exception):
    """Something in a config or on a command line cannot be used.

    Its message is all that the user needs: it names the key, what was found
    and what was expected.  The tools of this package show only the message,
    without a traceback.  Head adapters, losses and distillers of other
    packages can raise its subclasses to be shown in the same way.
    """


class ConfigTypeError(ConfigError, TypeError):
    """Something has a different type than expected."""


class ConfigValueError(ConfigError, ValueError):
    """A value is out of range, or does not fit other values."""


class ConfigFileNotFoundError(ConfigError, FileNotFoundError):
    """A file or a folder that a config names does not exist."""


def readable(error: Exception) -> Exception:
    """Find the error about the config inside the errors that wrap it.

    Registries wrap an error once for each level of the config they build.

    Returns:
        Exception: the innermost error, without a traceback, if it is about
        the config; else the error itself.
    """
    root: BaseException = error
    while root.__context__ is not None and (
            root.__cause__ is not None or not root.__suppress_context__):
        root = root.__context__
    if isinstance(root, ConfigError):
        return root.with_traceback(None)
    said = meaning(error)
    if said is not None:
        return next(kind for kind in ConfigError.__subclasses__()
                    if issubclass(kind, type(said)))(str(said))
    is_encoded = isinstance(root, UnicodeDecodeError) or (
        isinstance(root, SyntaxError) and BYTE_ORDER_MARK in str(root))
    if is_encoded and (file := _config_of(root)):
        return ConfigValueError(
            f'config {file!r}: {describe(root)}. Expected Python in UTF-8 '
            'without a byte order mark')
    return error


def describe(error: BaseException) -> str:
    """The type of an error and its message, for use in our own messages.

    If the message is empty, as for a bare ``assert``, it is the line of code
    that raised the error instead.
    """
    text = _message(error)
    name = type(error).__name__
    if isinstance(error, ConfigError):  # by the name that Python's users know
        name = next(kind.__name__ for kind in type(error).__mro__
                    if kind.__module__ == 'builtins')
    return f'{name}: {text}' if text else name


def in_config(error: BaseException) -> str:
    """The line of a config that raised an error; empty if it was no config."""
    found, place = '', error.__traceback__
    while place is not None:
        if '__name__' not in place.tb_frame.f_globals:  # no module: a config
            file = place.tb_frame.f_code.co_filename
            found = f' ({file}, line {place.tb_lineno})'
        place = place.tb_next
    return found


def words(error: BaseException) -> str:
    """As :func:`describe`, but with the type only if there is no message."""
    return _message(error) if str(error).strip() else describe(error)


def _message(error: BaseException) -> str:
    text = str(error).strip()
    if text and not text.endswith(':'):
        return text
    # registries raise an error again, with a text before its message
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
    """Raise errors about the config without the errors that wrap them."""
    try:
        yield
    except Exception as e:
        wrong = readable(e)
        if wrong is e and wrong.__traceback__ is not None:
            raise  # not about the config: its history matters
        raise wrong from None


def _place(error: BaseException) -> TracebackType | None:
    """The innermost entry of a traceback: where the error was raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place


def _config_of(error: BaseException) -> str | None:
    """The config file that mmengine was reading, such as a base config."""
    found, place = None, error.__traceback__
    while place is not None:
        if _module(place).startswith('mmengine.config'):
            found = place.tb_frame.f_locals.get('filename', found)
        place = place.tb_next
    return None if found is None else str(found)


def _module(place: TracebackType) -> str:
    return place.tb_frame.f_globals.get('__name__', '')
