"""Checking arguments that come from a config."""
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import (
    ConfigFileNotFoundError,
    ConfigTypeError,
    ConfigValueError,
    words,
)
from .names import did_you_mean

NUMBERS: Any = (int, float, np.integer, np.floating)


def check_number(owner: str, key: str, value: Any, low: float,
                 inclusive: bool = True) -> float:
    """Return ``value`` if it is a finite number that is not below ``low``.

    Args:
        owner: who has the parameter, for messages.
        key: name of the parameter, for messages.
        value: what was given.
        low: the least number allowed.
        inclusive: whether ``low`` itself is allowed.

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite, or too low.
    """
    if isinstance(value, bool) or not isinstance(value, NUMBERS):
        raise ConfigTypeError(
            f'{owner}: {key} must be a number, found {value!r}')
    if not math.isfinite(value) or value < low or (
            value == low and not inclusive):
        sign = '>=' if inclusive else '>'
        raise ConfigValueError(
            f'{owner}: {key} must be finite and {sign} {low}, found {value!r}')
    return value


def one_of(key: str, value: str, values: Sequence[str]) -> str:
    """Return ``value`` if it is among ``values``.

    Args:
        key: of the argument, for messages.
        value: what was given.
        values: what is allowed.

    Raises:
        ValueError: it is not.
    """
    if value not in values:
        raise ConfigValueError(f'{key} must be one of {tuple(values)}, '
                               f'found {value!r}')
    return value


def check_known(owner: str, key: str, known: Iterable[str]) -> None:
    """Check that a key is known.

    Args:
        owner: what has the key, for messages.
        key: what was given.
        known: what is allowed.

    Raises:
        ValueError: it is not; the message names one that is near.
    """
    if key not in known:
        raise ConfigValueError(f'{owner}: unknown key {key!r}, expected '
                               f'{", ".join(known)}{did_you_mean(key, known)}')


def check_has_type(key: str, cfg: Any) -> None:
    """Check that something is a config with a ``type``.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise ConfigTypeError(
            f"{key} must be a dict with a 'type', found {cfg!r}")


def missing(key: str, path: str, expected: str) -> FileNotFoundError:
    """The error for a file that does not exist.

    Args:
        key: what named it, for the message.
        path: the file.
        expected: what should be there.

    Returns:
        FileNotFoundError: says which other files of that kind the folder has.
    """
    file = Path(path).expanduser()
    others = sorted(one.name for one in file.parent.glob(f'*{file.suffix}')
                    if file.suffix and one.is_file())
    has = lacks_slash(path) or (
        f'; that folder has {few(others)}' if others else '')
    return ConfigFileNotFoundError(
        f'{key}={path!r}: no such file (looked from {Path.cwd()}); expected '
        f'{expected}{has}')


def lacks_slash(path: str) -> str:
    """The end of a message about a file that is not there.

    Args:
        path: of the file, such as ``'data/ownval.json'``.

    Returns:
        str: names the file that is there with one slash more; empty if none
        is.
    """
    parts = Path(path).expanduser().parts
    for index, part in enumerate(parts):
        for at in range(1, len(part)):
            file = Path(*parts[:index], part[:at], part[at:],
                        *parts[index + 1:])
            if file.is_file():
                return (f'; {str(file)!r} exists, so the folder before it '
                        "(data_root?) may lack a '/' at its end")
    return ''


def few(names: Iterable[Any], count: int = 6,
        show: Callable[[Any], str] = repr) -> str:
    """The first of some names, and how many there are.

    Args:
        names: what is listed.
        count: the most that is listed.
        show: how a name is written.
    """
    names = list(names)
    shown = ', '.join(map(show, names[:count]))
    return (f'{shown}, … ({len(names)} in all)'
            if len(names) > count else shown)


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Let errors about arguments say where in the config these are.

    Raises:
        TypeError, ValueError: what the block raised, after ``where``.
    """
    try:
        yield
    except TypeError as e:
        raise ConfigTypeError(f'{where}{words(e)}') from None
    except (AssertionError, KeyError, ValueError) as e:
        # a KeyError's own text is in quotes
        text = e.args[0] if isinstance(e, KeyError) and e.args else words(e)
        raise ConfigValueError(f'{where}{text}') from None
