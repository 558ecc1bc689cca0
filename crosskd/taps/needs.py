"""What distillers need from the passes of two detectors."""
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .tap import FEATURES, Tap


@dataclass(frozen=True)
class Needs:
    """What is needed from the passes of a student and its teacher.

    Attributes:
        outputs: names of outputs that the teacher's dense head must have
            (``'cls'``, ``'reg'``, ``'quality'``, …).
        cross_head: whether cross-head predictions are needed.
        features: by name, the student's and the teacher's tap; None for the
            detector's default tap.
        scores: whether the class scores of the teacher's dense head are
            needed, whatever the student is.
    """
    outputs: frozenset[str] = frozenset()
    cross_head: bool = False
    features: Mapping[str, tuple[Tap | None, Tap | None]] = field(
        default_factory=dict)
    scores: bool = False

    def __or__(self, other: 'Needs') -> 'Needs':
        return Needs(self.outputs | other.outputs,
                     self.cross_head or other.cross_head,
                     {**self.features, **other.features},
                     self.scores or other.scores)

    def __bool__(self) -> bool:
        return self.teachers_head or bool(self.features)

    @property
    def dense(self) -> bool:
        """Whether predictions of two dense heads are compared."""
        return self.cross_head or bool(self.outputs)

    @property
    def teachers_head(self) -> bool:
        """Whether the teacher needs a dense head that has an adapter."""
        return self.dense or self.scores

    @classmethod
    def of(cls, names: 'Needs | Collection[str]') -> 'Needs':
        """Needs that are given as names.

        Args:
            names: of outputs; and ``'cross_head'``, or ``'features'`` for
                features at the default taps.
        """
        if isinstance(names, Needs):
            return names
        return cls(
            frozenset(names) - {'cross_head', FEATURES}, 'cross_head' in names,
            {FEATURES: (None, None)} if FEATURES in names else {})


@dataclass(frozen=True)
class Plan:
    """What is decided about a pair when training begins.

    Attributes:
        needs: what the distillers may need during the run.
        student, teacher: by the name of features, the tap in that detector.
        split: after how many layers the intermediate features of the
            student's and of the teacher's head are recorded; None if they are
            not recorded.
    """
    needs: Needs
    student: Mapping[str, Tap]
    teacher: Mapping[str, Tap]
    split: tuple[int, int] | None = None
