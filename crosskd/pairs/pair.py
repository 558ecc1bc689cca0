"""A student and a teacher, with all that bridges them."""
import logging
from collections.abc import Collection, Mapping, Sequence

import torch
from mmdet.registry import MODELS
from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from ..arguments import naming
from ..checkpoints.auxiliary import Auxiliary
from ..errors import ConfigValueError
from ..heads import HeadAdapter
from ..numerics.randomness import untouched_randomness
from ..registry import in_our_scope
from .classes import match_classes

ADAPTER = dict(type='ChannelAdapter')
SPLIT = 'kd_cfg.reused_teacher_head_idx'
FEATURES = 'features'


class Pair(Auxiliary):
    """All that is about two detectors: levels, classes, priors, channels.

    What the two heads are like is known when the teacher has been read, so
    :meth:`join` does the matching, once, when training begins.  Its channel
    adapters train with the student and are saved beside its ``state_dict``,
    see :class:`~crosskd.checkpoints.auxiliary.Auxiliary`.

    Args:
        split: how many layers of its branches the student keeps for
            cross-head predictions, and how many of the teacher's are left
            out; None if there are no such predictions.
        adapter: config of the channel adapters.
        synonyms: the teacher's name for some of the student's classes.
        teacher_classes: names of the teacher's classes; by default those in
            its checkpoint.

    Attributes:
        is_joined: whether the two heads have been matched and checked.
        levels: indices of the levels that both have, as (student's,
            teacher's), matched by stride.
        same_priors: whether the priors of these levels are equal.
        same_encoding: whether the two heads are of one family, and equal
            encoded boxes are equal boxes of both.
        num_classes: how many classes both have.
    """

    shared_student: Tensor
    shared_teacher: Tensor
    shared_label: Tensor

    def __init__(self,
                 split: tuple[int, int] | None = None,
                 adapter: dict | None = None,
                 synonyms: Mapping[str, str] | None = None,
                 teacher_classes: Sequence[str] | None = None) -> None:
        super().__init__()
        self.split = split
        self.adapter = adapter or ADAPTER
        self.synonyms = synonyms or {}
        self.teacher_classes = teacher_classes
        self.adapters = ModuleDict()
        self._widths: dict[str, int] = {}
        self.is_joined = False
        self.levels: list[tuple[int, int]] = []
        self.same_priors = False
        self.same_encoding = False
        self.num_classes = 0
        self.all_classes = True

    # -- when training begins ----------------------------------------------

    def join(self, student: HeadAdapter, teacher: HeadAdapter,
             needs: Collection[str], like: Tensor,
             student_classes: Sequence[str] | None = None,
             teacher_classes: Sequence[str] | None = None) -> None:
        """Match the two heads, and build the adapters between them.

        Args:
            student, teacher: the two heads.
            needs: what the distillers need.
            like: a parameter of the student, for device and data type.
            student_classes, teacher_classes: names, where they are known.

        Raises:
            ValueError: they have no level or no class in common, or a split
                is beyond a head's layers.
            TypeError: an adapter cannot be built.
        """
        self.adapters.clear()
        self._match_levels(student, teacher)
        if set(needs) - {FEATURES}:
            self._match_classes(student, teacher, student_classes,
                                self.teacher_classes or teacher_classes)
            ours, theirs = map(list, zip(*self.levels))
            self.same_priors = student.same_priors(ours, teacher, theirs)
            self.same_encoding = (
                'reg' in needs and student.name == teacher.name
                and student.encodes_like(ours, teacher, theirs))
        # the same seed is the same student, whatever is distilled
        with untouched_randomness(), torch.device('cpu'):
            self._bridge_all(student, teacher, needs)
        self.to(like.device, like.dtype)

    def _bridge_all(self, student: HeadAdapter, teacher: HeadAdapter,
                    needs: Collection[str]) -> None:
        """Build the channel adapters of what will be compared."""
        if self.split is not None:
            check_split('teacher', self.split[1], teacher)
            if student.branches != teacher.branches:
                raise ConfigValueError(
                    'teacher_config does not fit the student: the branches '
                    f'of a {teacher.name} head are {teacher.branches}, those '
                    f'of a {student.name} head {student.branches}; cross-head '
                    "predictions need the same; set kd_cfg.prediction="
                    "'student'")
            for branch in student.branches:
                self._bridge(branch, f'{branch} branch',
                             student.channels(branch, self.split[0]),
                             teacher.channels(branch, self.split[1]))
        if FEATURES in needs:
            self._bridge(FEATURES, 'FPN', student.channels(
                student.branches[0], 0), teacher.channels(
                    teacher.branches[0], 0))
        # DDP wants a gradient for whatever trains
        for adapter in self.idle(teacher, needs):
            adapter.requires_grad_(False)

    def _match_levels(self, student: HeadAdapter,
                      teacher: HeadAdapter) -> None:
        ours, theirs = student.strides, teacher.strides
        self.levels = [(i, theirs.index(stride))
                       for i, stride in enumerate(ours) if stride in theirs]
        if not self.levels:
            raise ConfigValueError(
                'teacher_config does not fit the student: no level of the '
                f'teacher has a stride of the student. Strides: {ours} '
                f'(student) and {theirs} (teacher)')
        for whose, strides, others in (('student', ours, theirs),
                                       ('teacher', theirs, ours)):
            alone = [str(s[0]) for s in strides if s not in others]
            if alone:
                _say(f'levels of stride {", ".join(alone)} are the '
                     f'{whose}\'s alone and are not distilled')

    def _match_classes(self, student: HeadAdapter, teacher: HeadAdapter,
                       student_names: Sequence[str] | None,
                       teacher_names: Sequence[str] | None) -> None:
        counts = student.num_classes, teacher.num_classes
        shared = match_classes(student_names, teacher_names, counts,
                               self.synonyms)
        if shared.message:
            _say(shared.message, logging.WARNING if len(
                shared.student) < counts[0] else logging.INFO)
        self.num_classes = len(shared.student)
        self.all_classes = counts[0] == counts[1] == self.num_classes and (
            shared.student == shared.teacher)
        if self.all_classes:
            return
        label = torch.full((counts[0] + 1, ), -1)  # mmdet's last is none
        label[shared.student] = torch.arange(self.num_classes)
        for name, value in (('shared_student', torch.tensor(shared.student)),
                            ('shared_teacher', torch.tensor(shared.teacher)),
                            ('shared_label', label)):
            self.register_buffer(name, value, persistent=False)

    def _bridge(self, key: str, what: str, ours: int, theirs: int) -> None:
        """Build a channel adapter where widths differ."""
        if ours == theirs:
            return
        with naming('kd_cfg.adapter: '):
            adapter = self.adapters[key] = MODELS.build(
                dict(in_our_scope(MODELS, self.adapter),
                     in_channels=ours, out_channels=theirs))
        if isinstance(adapter, BaseModule):
            adapter.init_weights()
        self._widths[key] = theirs
        _say(f'{what}: the student has {ours} channels and the teacher '
             f'{theirs}; {type(adapter).__name__} brings the student\'s '
             'features to the teacher\'s width (kd_cfg.adapter)')

    def init_weights(self) -> None:
        """Nothing: channel adapters are initialised when they are built."""

    # -- in a training step ------------------------------------------------

    def split_for(self, needs: Collection[str]
                  ) -> tuple[int, int] | tuple[None, None]:
        """The split, where cross-head predictions are among the needs."""
        if self.split is None or 'cross_head' not in needs:
            return None, None
        return self.split

    def idle(self, teacher: HeadAdapter,
             needs: Collection[str]) -> list[nn.Module]:
        """The channel adapters that lead to nothing that is needed.

        Args:
            teacher: the teacher's head.
            needs: what the distillers need.
        """
        used = {FEATURES} & set(needs)
        if 'cross_head' in needs:
            used.update(*(teacher.branches_of(output)
                          for output in set(needs) & set(teacher.outputs)))
        return [adapter for key, adapter in self.adapters.items()
                if key not in used]

    def adapt(self, key: str, features: Tensor) -> Tensor:
        """A student's (N, C, H, W) features in the teacher's width."""
        if key not in self.adapters:
            return features
        adapted = self.adapters[key](features)
        expected = (len(features), self._widths[key], *features.shape[2:])
        if adapted.shape != expected:
            raise ConfigValueError(
                f'kd_cfg.adapter: {type(self.adapters[key]).__name__} must '
                f'return features of the shape {expected}, found '
                f'{tuple(adapted.shape)}')
        return adapted

    def select(self, classes: Tensor, whose: str, dim: int) -> Tensor:
        """The shared ones of the classes along a dimension.

        Args:
            classes: a tensor with a dimension of all classes.
            whose: ``'student'`` or ``'teacher'``.
            dim: that dimension.
        """
        if self.all_classes:
            return classes
        return classes.index_select(dim, getattr(self, f'shared_{whose}'))

    def shared_labels(self, labels: Tensor) -> Tensor:
        """Labels of the student as indices of shared classes; -1 for none."""
        if self.all_classes:
            return labels
        return torch.where(labels >= 0, self.shared_label[labels.clamp(0)],
                           labels)


def check_split(whose: str, split: int, head: HeadAdapter) -> None:
    """Check that a head's branches can be split after so many layers.

    Raises:
        ValueError: they have fewer layers.
    """
    if not 0 <= split <= head.depth:
        raise ConfigValueError(
            f'{SPLIT} must be between 0 and the number '
            f"of tower layers ({head.depth} in the {whose}'s head), "
            f'found {split}{head.why_no_deeper}; two numbers '
            '(student, teacher) may differ')


def _say(message: str, level: int = logging.INFO) -> None:
    print_log(f'distillation: {message}', logger='current', level=level)
