"""The outputs of two dense heads for one batch, ready to be compared."""
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import ConfigTypeError
from ..heads import Geometry, HeadAdapter, HeadRecord, Targets
from ..numerics.statistics import align_statistics
from .dense_pair import DensePair
from .pair import Pair
from .paired_pass import PairedPass

Maps = dict[str, list[Tensor]]
T = TypeVar('T')


class DensePass(PairedPass):
    """The outputs of two dense heads for one batch, matched.

    It covers the levels and classes that both heads have.  P counts the
    *teacher's* priors on these levels: distillation happens in its prediction
    space.  The argument ``prediction`` of the methods says whose predictions
    are meant: ``'cross_head'`` (from the student's intermediate features, by
    the remaining layers of the teacher's head), the ``'student'``'s own, or
    the ``'teacher'``'s.

    Arguments: see :class:`PairedPass`; the records are those of dense heads.
    """

    pair: DensePair
    _learned: HeadRecord
    _taught: HeadRecord
    _cross_head: Maps | None = None

    @property
    def student(self) -> HeadAdapter:
        """The student's head."""
        return self._learned.adapter

    @property
    def teacher(self) -> HeadAdapter:
        """The teacher's head."""
        return self._taught.adapter

    @cached_property
    def student_levels(self) -> list[int]:
        """Indices of the common levels among the student's."""
        return [ours for ours, _ in self.pair.levels]

    @cached_property
    def teacher_levels(self) -> list[int]:
        """Indices of the common levels among the teacher's."""
        return [theirs for _, theirs in self.pair.levels]

    @property
    def shape(self) -> tuple[int, int]:
        """N and P."""
        return len(self.samples), sum(self._teacher_geometry.counts)

    # -- predictions -------------------------------------------------------

    def begin(self) -> None:
        """Make the cross-head predictions, if they are needed.

        This is not left to their first use, which may be in another precision.
        """
        if self.pair.split is not None and self._learned.intermediates:
            self._cross_head = self.make_cross_head(self.pair.split)

    def make_cross_head(self, split: tuple[int, int]) -> Maps:
        """Cross-head predictions (CrossKD, arXiv 2306.11369, section 3.2)."""
        # only branches that lead to a needed output
        branches = list(self._taught.intermediates)
        # before any layers of both heads, all branches have the same features
        alike = not any(split) and not any(
            branch in self.pair.adapters for branch in branches)
        own = branches[:1] if alike else branches
        places = [(branch, *levels) for branch in own
                  for levels in self.pair.levels]
        aligned = align_statistics(
            [self.pair.adapt(branch, self._learned.intermediates[branch][ours])
             for branch, ours, _ in places],
            [self._taught.intermediates[branch][theirs]
             for branch, _, theirs in places])
        count = len(self.pair.levels)
        features = {
            branch: aligned[:count] if alike else
            aligned[i * count:(i + 1) * count]
            for i, branch in enumerate(branches)}
        # the teacher's weights and these features are in the teacher's type
        with torch.autocast(self.device.type, enabled=False):
            return self.teacher.forward_from(features, split[1],
                                             self.teacher_levels,
                                             self._taught.needs.outputs)

    def predictor(self, prediction: str) -> HeadAdapter:
        """The head whose box coder and priors belong to these predictions."""
        return self.student if prediction == 'student' else self.teacher

    def maps(self, prediction: str, name: str) -> list[Tensor]:
        """Per level (N, A * K, H, W) maps of an output.

        See :meth:`crosskd.heads.HeadAdapter.named`.
        """
        if prediction == 'cross_head':
            if self._cross_head is None:
                raise KeyError("no distiller's needs have 'cross_head'")
            return self._cross_head[name]
        adapter, seen, levels = (
            (self.student, self._learned, self.student_levels)
            if prediction == 'student' else
            (self.teacher, self._taught, self.teacher_levels))
        return [seen.outputs[name][i] for i in levels]

    def geometry(self, prediction: str) -> Geometry:
        """The priors of these predictions."""
        if prediction == 'student':
            return self._student_geometry
        return self._teacher_geometry

    @cached_property
    def _student_geometry(self) -> Geometry:
        return self.student.geometry(self._learned.sizes, self.student_levels,
                                     self._learned.device)

    @cached_property
    def _teacher_geometry(self) -> Geometry:
        return self.teacher.geometry(self._taught.sizes, self.teacher_levels,
                                     self._taught.device)

    def flat(self, prediction: str, name: str) -> Tensor:
        """(N, P, K) values of an output."""
        return self.predictor(prediction).flatten(
            name, self.maps(prediction, name), self.geometry(prediction),
            training=prediction == 'student' and self._learned.training)

    def logits(self, prediction: str) -> tuple[Tensor, Tensor]:
        """(N, P, C) logits of the C shared classes, of both heads."""
        return (self.pair.select(self.flat(prediction, 'cls'),
                                 _space(prediction), -1),
                self._teacher_logits)

    @cached_property
    def _teacher_logits(self) -> Tensor:
        return self.pair.select(self.flat('teacher', 'cls'), 'teacher', -1)

    @cached_property
    def confidence(self) -> Tensor:
        """(N, P), the teacher's highest score among the shared classes."""
        return self._teacher_logits.detach().sigmoid().amax(-1)

    def class_maps(self, prediction: str) -> list[tuple[Tensor, Tensor]]:
        """Per level (N, A * C, H, W) logits of shared classes, of both heads.
        """
        return list(zip(self._class_maps(prediction),
                        self._class_maps('teacher')))

    def _class_maps(self, prediction: str) -> list[Tensor]:
        maps = self.maps(prediction, 'cls')
        if self.pair.all_classes:
            return maps
        priors = self.predictor(prediction).num_priors
        return [
            self.pair.select(x.unflatten(1, (priors, -1)), _space(prediction),
                             2).flatten(1, 2) for x in maps
        ]

    def regression(self, prediction: str,
                   form: str) -> tuple[Tensor, Tensor]:
        """Regression outputs of both, in a form of ``HeadAdapter.forms``.

        The student's own boxes are encoded with the teacher's box coder.

        Returns:
            tuple: (n, ...) each; the form says how many rows a prior has.
        """
        ours, theirs = (
            self.predictor(which).forms[form](self.flat(which, 'reg'),
                                              self.geometry(which))
            for which in (prediction, 'teacher'))
        if (form == 'encoded' and prediction == 'student'
                and not self.pair.same_encoding):
            ours = self.teacher.encode(
                self.student.boxes(self.flat('student', 'reg'),
                                   self._student_geometry),
                self._teacher_geometry)
        return ours, theirs

    def scores(self, prediction: str, name: str) -> tuple[Tensor, Tensor]:
        """(N, P) logits of ``'quality'`` or ``'objectness'``, of both heads.
        """
        return (self.flat(prediction, name).squeeze(-1),
                self.flat('teacher', name).squeeze(-1))

    # -- targets -----------------------------------------------------------

    @cached_property
    def _targets(self) -> Targets:
        for name, results in self._learned.returned.items():
            if not results:
                raise ConfigTypeError(
                    f'bbox_head: the loss of '
                    f'{type(self.student.head).__name__} did not call '
                    f'{name}, whose result distillation needs')
        return self.student.targets(self._learned, len(self.samples))

    def positives(self, term: str) -> Tensor:
        """(N, P), bool: priors with an assigned object of a shared class.

        If the priors of the two heads differ, a teacher's prior is positive if
        any of the student's priors at that location is.
        """
        labels = self._joined(_of_term(self._targets.labels, term))
        positives = self.student.is_class(labels)
        if not self.pair.all_classes:
            positives &= self.pair.shared_labels(labels) >= 0
        if self.pair.same_priors:
            return positives
        ours, theirs = self.student.num_priors, self.teacher.num_priors
        return positives.unflatten(1, (-1, ours)).any(-1).repeat_interleave(
            theirs, dim=1)

    def weights(self, term: str) -> Tensor | None:
        """(N, P): 0 for priors that the student's own loss of a term ignores.

        If the priors of the two heads differ, it is 1 for priors inside the
        padded image instead.  None if all priors count.
        """
        if not self.pair.same_priors:
            return self._valid
        weights = _of_term(self._targets.weights, term)
        return None if weights is None else self._joined(weights)

    @cached_property
    def _joined_targets(self) -> list[tuple[list[Tensor], Tensor]]:
        return []

    def _joined(self, targets: list[Tensor]) -> Tensor:
        for known, joined in self._joined_targets:
            if known is targets:  # of another term
                return joined
        joined = torch.cat([targets[i] for i in self.student_levels], 1)
        self._joined_targets.append((targets, joined))
        return joined

    @cached_property
    def _valid(self) -> Tensor | None:
        return self.teacher.valid_priors(
            self._taught.sizes, self.teacher_levels,
            [sample.metainfo for sample in self.samples],
            self._taught.device)

    def normalizer(self, term: str) -> float | Tensor:
        """The divisor of the student's own losses of a term.

        That of its classification losses if it has no such term.  A head with
        more priors a location has as many times the terms in its sums
        (docs/results.md).
        """
        normalizer = _of_term(self._targets.normalizers, term)
        more = self.teacher.num_priors / self.student.num_priors
        return normalizer * more if more > 1 else normalizer

    def by_level(self, values: Tensor) -> list[Tensor]:
        """The sum of (N, P) values over each level, for the log."""
        return [x.sum() for x in values.split(
            self._teacher_geometry.counts, 1)]

    def nothing(self, name: str | None = None) -> list[Tensor]:
        """0 for each level, of predictions or of the features of a name."""
        return ([self._zero] * len(self.pair.levels) if name is None else
                super().nothing(name))


def pass_of(pair: Pair) -> type[PairedPass]:
    """The class of paired pass that a pair makes."""
    return DensePass if isinstance(pair, DensePair) else PairedPass


def _of_term(every: dict[str, T], term: str) -> T:
    return every.get(term, every['cls'])


def _space(prediction: str) -> str:
    """Whose classes these predictions have."""
    return 'student' if prediction == 'student' else 'teacher'
