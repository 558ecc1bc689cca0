"""Checking arguments that are one of a few words."""
from collections.abc import Sequence


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
