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
    """
    outputs: frozenset[str] = frozenset()
    cross_head: bool = False
    features: Mapping[str, tuple[Tap | None, Tap | None]] = field(
        default_factory=dict)

    def __or__(self, other: 'Needs') -> 'Needs':
        return Needs(self.outputs | other.outputs,
                     self.cross_head or other.cross_head,
                     {**self.features, **other.features})

    def __bool__(self) -> bool:
        return self.dense or bool(self.features)

    @property
    def dense(self) -> bool:
        """Whether dense heads with adapters are needed, not just features."""
        return self.cross_head or bool(self.outputs)

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
