"""One layout for the priors and targets of all heads.

Priors (anchors or points) are numbered as mmdet's prior generators do: level
by level, row by row, and those of one location side by side.
"""
from dataclasses import dataclass

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
