"""A student and a teacher with dense heads, and how they are matched."""
import logging
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ..errors import ConfigValueError
from ..heads import HeadAdapter
from ..taps import Needs, Plan
from .classes import match_classes
from .levels import left_over, match_levels
from .pair import Pair, Side

SPLIT = 'kd_cfg.reused_teacher_head_idx'


class DensePair(Pair):
    """Matches two dense heads: levels, classes, priors, channels.

    Args:
        split: for cross-head predictions, how many layers of its branches the
            student keeps, and how many of the teacher's are skipped; None if
            there are no such predictions.
        adapter: config of the channel adapters.
        synonyms: the teacher's name for some of the student's classes.
        teacher_classes: names of the teacher's classes; by default those in
            its checkpoint.

    Attributes:
        student, teacher: the two heads, for checks after they are joined; not
            in copies of the pair.
        levels: indices of the levels that both have, as (student's,
            teacher's), matched by stride.
        same_priors: whether the priors of these levels are equal.
        same_encoding: whether the two heads belong to one family, and equal
            encoded boxes mean equal boxes.
        num_classes: how many classes both have.
    """

    student: HeadAdapter
    teacher: HeadAdapter
    shared_student: Tensor
    shared_teacher: Tensor
    shared_label: Tensor

    def __init__(self,
                 split: tuple[int, int] | None = None,
                 adapter: dict | None = None,
                 synonyms: Mapping[str, str] | None = None,
                 teacher_classes: Sequence[str] | None = None) -> None:
        super().__init__(adapter)
        self.split = split
        self.synonyms = synonyms or {}
        self.teacher_classes = teacher_classes
        self.levels: list[tuple[int, int]] = []
        self.same_priors = False
        self.same_encoding = False
        self.num_classes = 0
        self.all_classes = True
        self._branches_of: dict[str, tuple[str, ...]] = {}

    def __getstate__(self) -> dict:
        # copies of a student share its teacher; do not copy it here
        return {key: value for key, value in vars(self).items()
                if key not in ('student', 'teacher')}

    # -- when training begins ----------------------------------------------

    def join(self, student: Side, teacher: Side, plan: Plan,
             like: Tensor) -> None:
        """Match the detectors and their heads.

        Raises:
            ValueError: they have no level or no class in common, or a head
                has fewer layers than the split.
            TypeError: an adapter cannot be built.
        """
        if student.head is None or teacher.head is None:
            raise TypeError('a DensePair needs the heads of both detectors')
        self.student, self.teacher = student.head, teacher.head
        self._branches_of = {output: teacher.head.branches_of(output)
                             for output in teacher.head.outputs}
        super().join(student, teacher, plan, like)

    def _match(self, student: Side, teacher: Side, plan: Plan) -> None:
        ours, theirs = self.student.strides, self.teacher.strides
        self.levels = match_levels(ours, theirs)
        self.note(*left_over(ours, theirs, self.levels))
        self._match_classes(student.classes,
                            self.teacher_classes or teacher.classes)
        places = [list(side) for side in zip(*self.levels)]
        self.same_priors = self.student.same_priors(
            places[0], self.teacher, places[1])
        self.same_encoding = (
            'reg' in plan.needs.outputs
            and self.student.name == self.teacher.name
            and self.student.encodes_like(places[0], self.teacher, places[1]))
        super()._match(student, teacher, plan)

    def _bridge_all(self, student: Side, teacher: Side, plan: Plan) -> None:
        if self.split is not None:
            ours, theirs = self.student, self.teacher
            check_split('teacher', self.split[1], theirs)
            if ours.branches != theirs.branches:
                raise ConfigValueError(
                    'teacher_config does not fit the student: cross-head '
                    'predictions need heads with the same branches, found '
                    f'{ours.branches} ({ours.name}, student) and '
                    f'{theirs.branches} ({theirs.name}, teacher); set '
                    "kd_cfg.prediction='student'")
            for branch in ours.branches:
                self._bridge(branch, f'{branch} branch',
                             ours.channels(branch, self.split[0]),
                             theirs.channels(branch, self.split[1]))
        super()._bridge_all(student, teacher, plan)

    def _match_classes(self, student_names: Sequence[str] | None,
                       teacher_names: Sequence[str] | None) -> None:
        counts = self.student.num_classes, self.teacher.num_classes
        shared = match_classes(student_names, teacher_names, counts,
                               self.synonyms)
        if shared.message:
            self.note(shared.message, level=logging.WARNING if len(
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

    def check_priors_per_location(self) -> None:
        """Check that both heads have equally many priors per location.

        Raises:
            ValueError: they do not.
        """
        ours, theirs = self.student.num_priors, self.teacher.num_priors
        if ours != theirs:
            raise ConfigValueError(
                'teacher_config does not fit the student: anchors per '
                f'location must be equal, found {ours} (student) and {theirs} '
                "(teacher); with kd_cfg.prediction='cross_head' they may "
                'differ')

    # -- in a training step ------------------------------------------------

    def _used(self, needs: Needs) -> Iterable[str]:
        yield from super()._used(needs)
        if needs.cross_head:
            for output in needs.outputs & self._branches_of.keys():
                yield from self._branches_of[output]

    def select(self, classes: Tensor, whose: str, dim: int) -> Tensor:
        """Select the shared classes along a dimension.

        Args:
            classes: a tensor with a dimension of all classes.
            whose: ``'student'`` or ``'teacher'``.
            dim: that dimension.
        """
        if self.all_classes:
            return classes
        return classes.index_select(dim, getattr(self, f'shared_{whose}'))

    def shared_labels(self, labels: Tensor) -> Tensor:
        """The student's labels as indices of shared classes; -1 if none."""
        if self.all_classes:
            return labels
        return torch.where(labels >= 0, self.shared_label[labels.clamp(0)],
                           labels)


def check_split(whose: str, split: int, head: HeadAdapter) -> None:
    """Check that a head's branches can be split after ``split`` layers.

    Raises:
        ValueError: they have fewer layers.
    """
    if not 0 <= split <= head.depth:
        raise ConfigValueError(
            f'{SPLIT} must be between 0 and the number '
            f"of tower layers ({head.depth} in the {whose}'s head), "
            f'found {split}{head.why_no_deeper}; you can give two different '
            'numbers (student, teacher)')

