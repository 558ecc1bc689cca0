"""Matching the classes of a student and a teacher by name."""
import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..arguments import few
from ..errors import ConfigValueError

KEY = 'kd_cfg.classes'
MOST = 100  # classes that a message lists


@dataclass
class SharedClasses:
    """The classes that both detectors of a pair have.

    Attributes:
        student: their indices among the student's classes.
        teacher: their indices among the teacher's, in the same order.
        message: what the log says about them; empty if all names are equal.
    """
    student: list[int]
    teacher: list[int]
    message: str = ''


def match_classes(student: Sequence[str] | None,
                  teacher: Sequence[str] | None,
                  counts: tuple[int, int],
                  synonyms: Mapping[str, str]) -> SharedClasses:
    """Match classes by name.

    A name is matched with the same name, or else with one that differs only
    in capitals, spaces, underscores and hyphens, unless another class of the
    student would match it, too, or has exactly that name.  If names are not
    known and the numbers of classes are equal, classes are matched by index.

    Args:
        student, teacher: names of the classes, if they are known.
        counts: how many classes the two heads predict.
        synonyms: the teacher's name for some of the student's classes.

    Raises:
        ValueError: no class is shared, names are needed but not known, or
            names do not fit the heads or the synonyms.
    """
    for key, names, count in (
            ('classes of the training data', student, counts[0]),
            ('kd_cfg.teacher_classes (by default those in teacher_ckpt)',
             teacher, counts[1])):
        if names is not None and len(names) != count:
            raise ConfigValueError(
                f'{key}: expected {count} names, one for each class of the '
                f'head, found {len(names)}: {_listed(names)}')
    if student is None or teacher is None:
        return _by_number(student, teacher, counts, synonyms)
    pairs = _pairs(student, teacher, synonyms)
    if not pairs:
        raise ConfigValueError(
            f'{KEY}: student and teacher have no class in common. The '
            f'student has {_listed(student)}, the teacher {_listed(teacher)}; '
            'to match different names, set '
            "kd_cfg.classes=dict(pedestrian='person')")
    shared = SharedClasses([i for i, _ in pairs], [j for _, j in pairs])
    if list(student) != list(teacher) or shared.student != shared.teacher:
        shared.message = _message(student, teacher, shared)
    return shared


def _pairs(student: Sequence[str], teacher: Sequence[str],
           synonyms: Mapping[str, str]) -> list[tuple[int, int]]:
    """Indices of classes that have the same name."""
    ours, theirs = _index(student), _index(teacher)
    renamed: dict[int, str] = {}
    for name, other in synonyms.items():
        if not ours(name):
            raise ConfigValueError(
                f'{KEY}: {name!r} is not a class of the student, '
                f'which has {_listed(student)}')
        if not theirs(other):
            raise ConfigValueError(
                f'{KEY}: {other!r} is not a class of the teacher, '
                f'which has {_listed(teacher)}')
        renamed.update(dict.fromkeys(ours(name), other))
    alike = Counter(map(_plain, student))
    pairs = []
    for i, own in enumerate(student):
        name = renamed.get(i, own)
        found = [j for j in theirs(name) if i in renamed
                 or teacher[j] == name or alike[_plain(name)] == 1]
        if len(found) > 1:
            spelled = [teacher[j] for j in found]
            hint = ('; if you mean one of them, name it: '
                    f'{KEY}={{{own!r}: {spelled[0]!r}}}'
                    if len({*spelled}) == len(spelled) else '')
            raise ConfigValueError(
                f'{KEY}: the teacher has several classes called {name!r}, '
                f'expected one: {_listed(teacher)}{hint}')
        pairs += [(i, j) for j in found]
    return pairs


def _index(names: Sequence[str]) -> Callable[[str], list[int]]:
    """Find the indices of a name: exactly as spelled, else in any spelling."""
    same, alike = defaultdict(list), defaultdict(list)
    for i, name in enumerate(names):
        same[name].append(i)
        alike[_plain(name)].append(i)
    return lambda name: same.get(name) or alike.get(_plain(name), [])


def _by_number(student: Sequence[str] | None, teacher: Sequence[str] | None,
               counts: tuple[int, int],
               synonyms: Mapping[str, str]) -> SharedClasses:
    unknown = []
    if student is None:
        unknown.append("the student's class names are not known (set "
                       "runner_type = 'DistillationRunner', which takes them "
                       'from the data set, or call join_teacher(classes))')
    if teacher is None:
        unknown.append("the teacher's checkpoint has no class names (set "
                       'kd_cfg.teacher_classes)')
    if counts[0] != counts[1]:
        raise ConfigValueError(
            f'{KEY}: the student has {counts[0]} classes and the teacher '
            f'{counts[1]}, so they are matched by name, but '
            + ' and '.join(unknown))
    if synonyms:
        raise ConfigValueError(
            f'{KEY}: synonyms need the names of the classes, but '
            + ' and '.join(unknown))
    every = list(range(counts[0]))
    return SharedClasses(
        every, every, f'{counts[0]} classes are matched by index, because '
        + ' and '.join(unknown))


def _message(student: Sequence[str], teacher: Sequence[str],
             shared: SharedClasses) -> str:
    """Which classes are distilled, which are not, and near matches."""
    names = [student[i] if student[i] == teacher[j]
             else f'{student[i]} (the teacher\'s {teacher[j]})'
             for i, j in zip(shared.student, shared.teacher)]
    said = (f'{len(names)} of {len(student)} classes are distilled: '
            f'{", ".join(names)}')
    alone = [n for i, n in enumerate(student) if i not in shared.student]
    if alone:
        said += f'; learned from labels only: {_listed(alone)}'
    unused = [n for i, n in enumerate(teacher) if i not in shared.teacher]
    for name in alone:
        near = difflib.get_close_matches(
            _plain(name), [_plain(n) for n in unused], 1)
        for other in unused:
            if [_plain(other)] == near:
                said += (f'; if {name!r} is what the teacher calls {other!r}, '
                         f'set {KEY}={{{name!r}: {other!r}}}')
    return said


def _plain(name: str) -> str:
    """A name without capitals, spaces, underscores and hyphens."""
    return re.sub(r'[\s_-]', '', str(name)).casefold() or str(name)


def _listed(names: Sequence[str]) -> str:
    return few(names, MOST, str)
