"""Checks of loss parameters, shared by the loss modules."""
import math
from typing import Any


def check_number(owner: str, key: str, value: Any, low: float,
                 inclusive: bool = True) -> float:
    """Return ``value`` where it is a finite number from ``low`` on.

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite or below ``low`` (equal to it, where not
            ``inclusive``).
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f'{owner}: {key} must be a number, found {value!r}')
    if not math.isfinite(value) or value < low or (
            value == low and not inclusive):
        sign = '>=' if inclusive else '>'
        raise ValueError(
            f'{owner}: {key} must be finite and {sign} {low}, found {value!r}')
    return value
