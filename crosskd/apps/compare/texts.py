"""Figures as text."""
from typing import Any

NOTHING = '–'


def percent(value: dict[str, Any]) -> str:
    """A metric as text: its mean, and the deviation if there is one."""
    if value['mean'] is None:
        return NOTHING
    spread = '' if value['std'] is None else f' ± {value["std"]:.1f}'
    return f'{value["mean"]:.1f}{spread}'


def gain(value: dict[str, Any] | None) -> str:
    """A gain in AP as text, with its deviation over seeds if there is one."""
    if value is None:
        return NOTHING
    spread = '' if value['std'] is None else f' ± {value["std"]:.1f}'
    return f'{signed(value["AP"])}{spread}'


def signed(value: float | None) -> str:
    """A difference in AP as text."""
    if value is None:
        return NOTHING
    return f'{value:+.1f}' if value else '0.0'


def millions(count: int) -> str:
    """A number of parameters as text."""
    return f'{count / 1e6:.2f} M'


def milliseconds(seconds: float) -> str:
    """A short time as text."""
    time = 1000 * seconds
    return f'{time:.1f} ms' if time < 10 else f'{time:.0f} ms'


def short(count: int) -> str:
    """A count with three digits, such as 11.2 M."""
    for size, letter in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if count >= 0.9995 * size:
            return f'{count / size:#.3g}'.rstrip('.') + f' {letter}'
    return str(count)
