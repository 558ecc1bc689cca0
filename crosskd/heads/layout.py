"""One layout for the passes, priors and targets of all heads.

Priors (anchors or points) are numbered as mmdet's prior generators do: level
by level, row by row, and those of one location side by side.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Geometry:
    """The P priors of some levels of a head, for one size of batch.

    Attributes:
        priors: (P, 2 or 4), points or boxes in pixels.
        strides: (P, 1), the stride of each prior's level, in pixels.
        counts: how many of them each level has.
    """
    priors: Tensor
    strides: Tensor
    counts: list[int]


@dataclass
class Targets:
    """What distillation reads of the student's own target assignment.

    Terms are named as outputs are: ``'cls'``, ``'reg'``, ``'quality'``.

    Attributes:
        labels: per level (N, P), the class of the object that a prior is
            assigned to; -1 for none.
        weights: by term, per level (N, P); 0 for priors that the head's own
            loss of that term ignores.
        normalizers: by term, what the losses of that term are divided by; a
            number, or a tensor on the device.
    """
    labels: list[Tensor]
    weights: dict[str, list[Tensor]]
    normalizers: dict[str, float | Tensor]


@dataclass
class HeadRecord:
    """The record of one pass through a dense head.

    Attributes:
        features: per level (N, C, H, W), what the head was given; empty if it
            was not run.
        outputs: what the head's forward returned: maps per branch and level.
        intermediates: by branch, per level (N, C, H, W), the features after
            ``split`` layers (for a split of 0, what the head was given);
            empty if none were asked for.
        returned: by the name of a method that tells targets, what each call
            of it returned.
    """
    features: Sequence[Tensor] = ()
    outputs: Sequence[Sequence[Tensor]] = ()
    intermediates: dict[str, list[Tensor]] = field(default_factory=dict)
    returned: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the maps of every level."""
        maps = self.outputs[0] if self.outputs else self.features
        return [(x.size(2), x.size(3)) for x in maps]
