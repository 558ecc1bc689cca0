"""Checking arguments that are one of a few words."""
import difflib
from collections.abc import Iterable, Sequence


def one_of(key: str, value: str, values: Sequence[str]) -> str:
    """Return ``value`` if it is among ``values``.

    Args:
        key: of ``kd_cfg``, for messages.

    Raises:
        ValueError: it is not.
    """
    if value not in values:
        raise ValueError(f'kd_cfg.{key} must be one of {tuple(values)}, '
                         f'found {value!r}')
    return value


def check_known(owner: str, key: str, known: Iterable[str]) -> None:
    """Check that a key is known.

    Args:
        owner: what has the key, for messages.

    Raises:
        ValueError: it is not; the message names one that is near.
    """
    if key not in known:
        near = difflib.get_close_matches(str(key), known, 1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise ValueError(f'{owner}: unknown key {key!r}, expected '
                         f'{", ".join(known)}{hint}')
