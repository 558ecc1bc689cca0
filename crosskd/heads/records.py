"""Records of a pass through a head, its priors and its targets.

They have the same layout for all heads.  Priors (anchors or points) are
numbered as in mmdet's prior generators: level by level, row by row, and the
priors of one location next to each other.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..taps import Record


@dataclass
class Geometry:
    """The P priors of some levels of a head, for one size of batch.

    Attributes:
        priors: (P, 2 or 4), points or boxes in pixels.
        strides: (P, 1), the stride of each prior's level, in pixels.
        counts: how many priors each level has.
    """
    priors: Tensor
    strides: Tensor
    counts: list[int]

    @cached_property
    @torch.inference_mode(False)  # a backward pass may need them
    def centers(self) -> Tensor:
        """(P, 2), the centres of the priors."""
        if self.priors.size(1) == 2:
            return self.priors
        return (self.priors[:, :2] + self.priors[:, 2:]) * 0.5

    @cached_property
    @torch.inference_mode(False)
    def sizes(self) -> Tensor:
        """(P, 2), width and height of priors that are boxes."""
        return self.priors[:, 2:] - self.priors[:, :2]


@dataclass
class Targets:
    """The part of the student's own target assignment that distillation uses.

    Terms have the names of outputs: ``'cls'``, ``'reg'``, …  A missing term is
    the same as ``'cls'``.

    Attributes:
        labels: by term, per level (N, P), the class of the object that a prior
            is assigned to, numbered as in mmdet; any other number is
            background.
        weights: by term, per level (N, P); 0 for priors that the head's own
            loss of that term ignores.  None for a term that ignores none.
        normalizers: by term, the divisor of its losses; a number, or a tensor
            on the device.
    """
    labels: dict[str, list[Tensor]]
    weights: dict[str, list[Tensor] | None]
    normalizers: dict[str, float | Tensor]

    @classmethod
    def of_all_terms(cls, terms: Sequence[str], labels: Sequence[Tensor],
                     weights: Sequence[Tensor] | None,
                     normalizer: float | Tensor) -> 'Targets':
        """The same targets for all terms."""
        by_level = None if weights is None else list(weights)
        labels = list(labels)
        return cls({term: labels for term in terms},
                   {term: by_level for term in terms},
                   {term: normalizer for term in terms})


@dataclass(kw_only=True)
class HeadRecord(Record):
    """The record of one pass of a detector with a dense head.

    Attributes:
        adapter: the head, a :class:`~crosskd.heads.HeadAdapter`.
        given: per level (N, C, H, W), the input of the head; empty if it was
            not run.
        outputs: by name, per level (N, A * K, H, W), the needed outputs.
        raw: the result of the head's forward; None if it was not called.
        training: whether the head made the maps in training mode; some heads
            then return more, or use other units.
        intermediates: by branch, per level (N, C, H, W), the features after
            ``split`` layers (for a split of 0, the head's input); empty if
            they are not needed.
        split: after how many layers; None if they are not needed.
        returned: by the name of a method that returns targets, the results of
            its calls.
    """
    adapter: Any
    given: Sequence[Tensor] = ()
    outputs: Mapping[str, list[Tensor]] = field(default_factory=dict)
    raw: Any = None
    training: bool = False
    intermediates: dict[str, list[Tensor]] = field(default_factory=dict)
    split: int | None = None
    returned: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the maps of every level."""
        return [(x.size(2), x.size(3)) for x in self._maps]

    @property
    def class_logits(self) -> Sequence[Tensor]:
        """Per level (N, A * K, H, W)."""
        return self.outputs['cls']

    @property
    def device(self) -> torch.device:
        """The device of the maps."""
        return self._maps[0].device

    @property
    def _maps(self) -> Sequence[Tensor]:
        if self.raw is not None:
            return self.raw[0]
        return next(iter(self.outputs.values()), self.given)
