"""Values as text of a config."""
from collections.abc import Iterator
from typing import Any

WIDTH = 79
SPREAD = '**'  # a key whose value is a dict that is written as **value


class Code(str):
    """An expression, which is written as it is."""

    def __repr__(self) -> str:
        return str(self)


def python_text(value: Any, indent: int = 0, used: int = 0) -> str:
    """Write a value in the style of mmdet's configs, in short lines.

    Args:
        value: dicts, lists and tuples of plain values and :class:`Code`.
        indent: spaces at the start of its line.
        used: characters before and after it in that line.
    """
    whole = _one_line(value)
    if '\n' not in whole and len(whole) + indent + used <= WIDTH:
        return whole
    if not isinstance(value, (dict, list, tuple)) or not value:
        return whole.replace('\n', f'\n{" " * indent}')
    inner = indent + 4
    begin, end = _brackets(value)
    lines = []
    for name, one in _items(value):
        text = python_text(one, inner, len(name) + 1)
        lines.append(f'{" " * inner}{name}{text},')
    return '\n'.join([begin, *lines, f'{" " * indent}{end}'])


def _one_line(value: Any) -> str:
    if not isinstance(value, (dict, list, tuple)):
        return repr(value)
    begin, end = _brackets(value)
    inner = ', '.join(f'{name}{_one_line(one)}' for name, one in _items(value))
    comma = ', ' if isinstance(value, tuple) and len(value) == 1 else ''
    return f'{begin}{inner}{comma}{end}'


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """What is written before each item, and the item."""
    if not isinstance(value, dict):
        yield from (('', one) for one in value)
        return
    for key, one in value.items():
        yield ('**' if key == SPREAD else f'{key}='), one


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, dict):
        return 'dict(', ')'
    return ('[', ']') if isinstance(value, list) else ('(', ')')
