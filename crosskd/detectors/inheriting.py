"""Starting a student from the weights of its teacher."""
import copy
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mmdet.models.detectors import BaseDetector
from mmengine.logging import print_log
from torch import Tensor

from ..arguments import few
from ..errors import ConfigValueError
from ..heads import class_counts
from ..names import did_you_mean
from ..pairs import DensePair, Pair
from ..teacher import Teacher

KEY = 'kd_cfg.inherit'
Weights = Mapping[str, Tensor]


class Inheritance:
    """The weights of a teacher that its student starts from.

    A layer is inherited if it has the same name in both detectors, and its
    parameters and buffers have the same names and shapes.  FGD and MGD call
    this the inheriting strategy (arXiv 2111.11837, 2205.01529).

    Args:
        modules: names of modules of both detectors, such as ``'neck'`` or
            ``'bbox_head.cls_convs'``.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = tuple(modules)
        self._taken: dict[str, Tensor] = {}
        self._message = ''

    def take(self, student: BaseDetector, teacher: Teacher) -> None:
        """Keep a copy of the weights, until the student is initialised.

        Args:
            student: the detector.
            teacher: its teacher, before its first run.

        Raises:
            RuntimeError: the teacher has run, so that its norms may be fused
                and its weights rounded.
            ValueError: one of the two lacks a module, or nothing of it fits.
        """
        if not self.modules:
            return
        if teacher.has_run:
            raise RuntimeError(
                f'{KEY}: this teacher has already run, so its weights may '
                'have changed (fused norms, half precision); expected a '
                'teacher that is read, but has not run')
        ours, theirs = student.state_dict(), teacher.detector.state_dict()
        said, left = [], []
        for name in self.modules:
            own = _of_module(name, ours)
            fitting = _fitting(own, _of_module(name, theirs))
            if not fitting:
                raise ConfigValueError(_why_nothing_fits(name, ours, theirs))
            self._taken.update(
                (key, theirs[key].detach().clone()) for key in fitting)
            said.append(f'{name} ({len(fitting)} of {len(own)} tensors)')
            left += [key for key in own if key not in fitting]
        self._message = (f'{KEY}: the student starts from the teacher\'s '
                         f'weights of {", ".join(said)}')
        if left:
            self._message += (
                '; not of layers with other names or shapes in the teacher: '
                f'{few(left, show=str)}')

    def give(self, student: BaseDetector) -> None:
        """Write the weights into the student, in place, and log which.

        Args:
            student: the detector, whose other weights are initialised.
        """
        if not self._taken:
            return
        own = student.state_dict()
        for key, value in self._taken.items():
            own[key].copy_(value)
        print_log(self._message, logger='current')
        self._taken.clear()

    def warn_of_classes(self, student: BaseDetector, pair: Pair,
                        names: Sequence[str] | None,
                        others: Sequence[str] | None) -> None:
        """Warn of heads whose classes have other names in the teacher.

        Args:
            student: the detector.
            pair: the joined pair of student and teacher.
            names, others: of the student's and of the teacher's classes, by
                index; None if they are not known.
        """
        if isinstance(pair, DensePair):
            if pair.all_classes:  # the same, even if spelled differently
                return
            others = pair.teacher_classes or others
        differing = [(at, own, other) for at, (own, other) in enumerate(
            zip(names or (), others or ())) if own != other]
        heads = [head for head, count in _heads(student)
                 if count == len(names or ()) == len(others or ())
                 and any(_is_in(head, name) for name in self.modules)]
        if heads and differing:
            at, own, other = differing[0]
            print_log(
                f'{KEY}: {few(heads, show=str)} has as many classes in both '
                f"detectors, but other names: the student's weights for "
                f"{own!r} start from the teacher's for {other!r} (index "
                f'{at}). Leave it out of {KEY}, or give the classes the same '
                'order', 'current', logging.WARNING)

    def __deepcopy__(self, memo: dict) -> 'Inheritance':
        copied = copy.copy(self)
        copied._taken = dict(self._taken)  # the tensors never change
        return copied


def _is_in(key: str, name: str) -> bool:
    return f'{key}.'.startswith(f'{name}.')


def _heads(detector: BaseDetector) -> Iterable[tuple[str, int]]:
    """The module and the number of classes of each head."""
    for key, count in class_counts(detector).items():
        yield re.sub(r'\[(\d+)\]', r'.\1', key.rpartition('.')[0]), count


def _of_module(name: str, weights: Weights) -> dict[str, Tensor]:
    return {k: v for k, v in weights.items() if _is_in(k, name)}


def _fitting(ours: Weights, theirs: Weights) -> set[str]:
    """Names of the weights whose layers fit."""
    layers, others = _by_layer(ours), _by_layer(theirs)
    return {key for layer, keys in layers.items()
            if keys == others.get(layer)
            and all(ours[k].shape == theirs[k].shape for k in keys)
            for key in keys}


def _by_layer(keys: Iterable[str]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for key in keys:
        found[key.rpartition('.')[0]].add(key)
    return found


def _why_nothing_fits(name: str, ours: Weights, theirs: Weights) -> str:
    for whose, weights in (('student', ours), ('teacher', theirs)):
        if not _of_module(name, weights):
            known = {part for key in ours.keys() & theirs.keys()
                     for part in _parents(key)}
            return (f'{KEY}: the {whose} has no module {name!r} with weights; '
                    'expected one that both detectors have'
                    f'{did_you_mean(name, sorted(known))}')
    key = next(iter(_of_module(name, ours)))
    found = (f'has the shape {tuple(theirs[key].shape)} in the teacher'
             if key in theirs else 'is not in the teacher')
    return (f'{KEY}: nothing of the teacher\'s {name!r} fits the student: '
            f'{key} has the shape {tuple(ours[key].shape)} in the student, '
            f'and {found}; expected layers with equal names and shapes')


def _parents(key: str) -> Iterable[str]:
    words = key.split('.')
    return ('.'.join(words[:i]) for i in range(1, len(words)))
