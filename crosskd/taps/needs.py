"""What distillers ask of the passes of two detectors."""
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .tap import FEATURES, Tap


@dataclass(frozen=True)
class Needs:
    """What is asked of the passes of a student and its teacher.

    Attributes:
        outputs: names of outputs that the teacher's dense head must have
            (``'cls'``, ``'reg'``, ``'quality'``, …).
        cross_head: whether cross-head predictions are asked for.
        features: by a name, the student's and the teacher's tap; None for the
            default one of the detector.
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
        """Whether it takes dense heads with adapters, and not features alone.
        """
        return self.cross_head or bool(self.outputs)

    @classmethod
    def of(cls, names: 'Needs | Collection[str]') -> 'Needs':
        """Needs that are given as names.

        Args:
            names: of outputs; ``'cross_head'`` and ``'features'`` (those of
                the default taps) are no outputs.
        """
        if isinstance(names, Needs):
            return names
        return cls(
            frozenset(names) - {'cross_head', FEATURES}, 'cross_head' in names,
            {FEATURES: (None, None)} if FEATURES in names else {})


@dataclass(frozen=True)
class Plan:
    """What is settled of a pair when training begins.

    Attributes:
        needs: what the distillers may ever need.
        student, teacher: by the name of features, the tap in that detector.
        split: after how many layers intermediate features of the student's
            and of the teacher's head are recorded; None for never.
    """
    needs: Needs
    student: Mapping[str, Tap]
    teacher: Mapping[str, Tap]
    split: tuple[int, int] | None = None
