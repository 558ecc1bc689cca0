"""The number of classes, in every head of a model."""
from collections.abc import Iterator, Mapping
from typing import Any

from .python_text import Code

COUNT = Code('len(_base_.CLASSES)')


def all_counts(model: Any) -> Iterator[int]:
    """Every ``num_classes`` in a part of a model's config."""
    several = model.values() if isinstance(model, dict) else model
    if isinstance(model, dict) and isinstance(model.get('num_classes'), int):
        yield model['num_classes']
    for one in several:
        if isinstance(one, (dict, list, tuple)):
            yield from all_counts(one)


def replaced_counts(part: Mapping[str, Any], count: int,
                    at: str) -> dict[str, Any]:
    """The changes that give a model's heads the classes of data.py.

    Args:
        part: a part of the model's config.
        count: the number of classes that the heads have now; other numbers,
            such as that of an RPN, are kept.
        at: the part, as an expression in a config.
    """
    found: dict[str, Any] = {}
    for key, value in part.items():
        if key == 'num_classes' and value == count:
            found[key] = COUNT
        elif isinstance(value, dict):
            found[key] = replaced_counts(value, count, f'{at}.{key}')
        elif isinstance(value, list) and count in all_counts(value):
            # lists are not merged
            found[key] = Code(
                f'[\n    dict(one, num_classes={COUNT})\n    for one in '
                f'{at}.{key}\n]') if all(
                    one.get('num_classes') == count for one in value
                    ) else [_whole(one, count) for one in value]
    return {key: value for key, value in found.items() if value != {}}


def _whole(value: Any, count: int) -> Any:
    """A part of a model, with another number of classes."""
    if isinstance(value, dict):
        return {key: COUNT if key == 'num_classes' and one == count
                else _whole(one, count) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_whole(one, count) for one in value)
    return value
