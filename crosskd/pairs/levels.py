"""Matching the levels of two detectors by their strides."""
import math
from collections.abc import Iterator, Sequence

from ..errors import ConfigValueError

Stride = tuple[float, float]
#: how many times one stride may be the other, of nearest levels
FARTHEST = 4


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
        raise _differ(ours, theirs, what, 'a stride')
    return matched


def nearest_levels(ours: Sequence[Stride], theirs: Sequence[Stride],
                   what: str = '') -> list[tuple[int, int]]:
    """Match levels whose strides are near, not only equal ones.

    For teachers that are no detectors: their patches have 14 or 16 pixels, and
    several of their levels may have the same stride.  The nearest two levels
    (by the ratio of their strides) are matched first; each level is matched
    at most once.  Finer levels of the teacher then teach finer levels of the
    student; of equal strides the earlier one counts as finer.

    Args:
        ours, theirs: the stride of each level.
        what: the features, for the message.

    Returns:
        list: indices of levels, as (student's, teacher's).

    Raises:
        ValueError: all strides are more than four times as large as others.
    """
    sizes = [[math.sqrt(y * x) for y, x in one] for one in (ours, theirs)]
    # of two equally near levels, the last, which is the deepest
    pairs = sorted((abs(math.log(a / b)), -i, -j)
                   for i, a in enumerate(sizes[0])
                   for j, b in enumerate(sizes[1])
                   if 1 / FARTHEST <= a / b <= FARTHEST)
    if not pairs:
        raise _differ(ours, theirs, what, f'a stride within {FARTHEST} times')
    taken: tuple[list[int], list[int]] = [], []
    for _, i, j in pairs:
        if -i not in taken[0] and -j not in taken[1]:
            taken[0].append(-i)
            taken[1].append(-j)
    # sorting is stable: of equal strides, the earlier level is first
    finest_first = [sorted(sorted(one), key=size.__getitem__)
                    for one, size in zip(taken, sizes)]
    return sorted(zip(*finest_first))


def _differ(ours: Sequence[Stride], theirs: Sequence[Stride], what: str,
            shared: str) -> ConfigValueError:
    return ConfigValueError(
        f'teacher_config does not fit the student{what}: no level of the '
        f'teacher has {shared} of the student. Strides: {list(ours)} '
        f'(student) and {list(theirs)} (teacher)')


def left_over(ours: Sequence[Stride], theirs: Sequence[Stride],
              matched: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Notes about levels that only one of the detectors has."""
    for whose, strides, used in zip(('student', 'teacher'), (ours, theirs),
                                    zip(*matched)):
        alone = [f'{s[0]:g}' for i, s in enumerate(strides) if i not in used]
        if alone:
            yield (f'only the {whose} has levels of stride '
                   f'{", ".join(alone)}; they are not distilled')
