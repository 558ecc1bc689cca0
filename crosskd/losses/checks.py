"""Checking the parameters of losses."""
import math
from typing import Any


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
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f'{owner}: {key} must be a number, found {value!r}')
    if not math.isfinite(value) or value < low or (
            value == low and not inclusive):
        sign = '>=' if inclusive else '>'
        raise ValueError(
            f'{owner}: {key} must be finite and {sign} {low}, found {value!r}')
    return value
