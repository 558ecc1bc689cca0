"""Matching the levels of two detectors by their strides."""
from collections.abc import Iterator, Sequence

from ..errors import ConfigValueError

Stride = tuple[float, float]


def match_levels(ours: Sequence[Stride], theirs: Sequence[Stride],
                 what: str = '') -> list[tuple[int, int]]:
    """Indices of the levels that both have, as (student's, teacher's).

    Args:
        ours, theirs: the stride of each level.  Levels of equal stride are
            matched in order.
        what: the features, for the message.

    Raises:
        ValueError: they have no level in common.
    """
    matched, left = [], list(range(len(theirs)))
    for i, stride in enumerate(ours):
        j = next((j for j in left if theirs[j] == stride), None)
        if j is not None:
            left.remove(j)
            matched.append((i, j))
    if not matched:
        raise ConfigValueError(
            f'teacher_config does not fit the student{what}: no level of the '
            f'teacher has a stride of the student. Strides: {list(ours)} '
            f'(student) and {list(theirs)} (teacher)')
    return matched


def left_over(ours: Sequence[Stride], theirs: Sequence[Stride],
              matched: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Notes about levels that only one of the detectors has."""
    for whose, strides, used in zip(('student', 'teacher'), (ours, theirs),
                                    zip(*matched)):
        alone = [f'{s[0]:g}' for i, s in enumerate(strides) if i not in used]
        if alone:
            yield (f'only the {whose} has levels of stride '
                   f'{", ".join(alone)}; they are not distilled')
