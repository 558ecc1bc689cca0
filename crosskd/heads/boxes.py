"""A head's regression outputs as boxes, and in forms that losses compare."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from torch import Tensor

from .decoding import decode, with_area
from .priors import HeadPriors
from .records import Geometry


class HeadBoxes(HeadPriors):
    """The part of a head adapter that is about predicted boxes.

    Args:
        head: an mmdet head.  If it has no ``bbox_coder``, its adapter
            overrides :meth:`boxes`.
    """

    #: whether ``reg`` holds distances in pixels
    predicts_distances = False
    #: whether no output of the head can decode to a box with sides of zero or
    #: less (except where a power is rounded to 0, which has no gradient)
    boxes_have_area = False

    @property
    def forms(self) -> dict[str, Callable[[Tensor, Geometry], Tensor]]:
        """The forms in which regression outputs can be compared.

        Each is a function of (N, P, R) outputs and the geometry of P priors.
        """
        return dict(boxes=self.compared_boxes, encoded=self.encoded)

    def encoded(self, reg: Tensor, geometry: Geometry) -> Tensor:
        """(N, P, R) regression outputs as (N * P, 4) encoded boxes.

        They are deltas if the head predicts deltas.  If it predicts distances,
        they are distances in units of the level's stride, so that those of all
        levels have similar size.
        """
        if self.predicts_distances:
            reg = reg / geometry.strides
        return reg.flatten(0, 1)

    @property
    def coder(self) -> Any:
        """The head's box coder; None if the adapter decodes boxes."""
        return getattr(self.head, 'bbox_coder', None)

    @property
    def num_bins(self) -> int | None:
        """Bins per side if boxes are predicted as distributions, else None."""
        return None

    def encodes_like(self, levels: Sequence[int], other: 'HeadBoxes',
                     others_levels: Sequence[int]) -> bool:
        """Whether equal numbers mean equal boxes in this head and another.

        Args:
            levels, others_levels: levels of both heads, with equal strides.
            other: a head of the same family.
        """
        if self._device.type == 'meta':  # no values to compare
            return True
        (reg, *ours), (same, *theirs) = (
            self._sample(levels, 3.0), other._sample(others_levels, 3.0))
        return reg.shape == same.shape and all(map(torch.equal, ours, theirs))

    def can_encode_for(self, levels: Sequence[int],
                       other: 'HeadBoxes') -> bool:
        """Whether :meth:`encode` works for boxes of another head.

        It must invert :meth:`boxes`, and both heads must have the same kind of
        coder: the logarithm of the other's sides may not exist.
        """
        if self.coder is None or type(self.coder) is not type(other.coder):
            return False
        # with small numbers, because large ones may be clamped
        _, boxes, encoded = self._sample(levels, 0.1)
        found = self.encode(boxes.to(self._device),
                            self.sample_of_priors(levels, self._device))
        return torch.allclose(found.cpu(), encoded, rtol=1e-3, atol=1e-3)

    @property
    def _device(self) -> torch.device:
        return next(self.head.parameters()).device

    @torch.no_grad()
    def _sample(self, levels: Sequence[int],
                size: float) -> tuple[Tensor, Tensor, Tensor]:
        """Sample regression outputs, their boxes, and the boxes encoded."""
        geometry = self.sample_of_priors(levels, self._device)
        reg = size * torch.randn(
            1, len(geometry.priors), 4 * (self.num_bins or 1), device='cpu',
            generator=torch.Generator('cpu').manual_seed(0)).to(self._device)
        return (reg.cpu(), self.boxes(reg, geometry).cpu(),
                self.encoded(reg, geometry).cpu())

    def encode(self, boxes: Tensor, geometry: Geometry) -> Tensor:
        """(N * P, 4) boxes, xyxy in pixels, as :meth:`encoded` has them."""
        times = len(boxes) // len(geometry.priors)
        if not isinstance(self.coder, DistancePointBBoxCoder):
            return self.coder.encode(geometry.priors.repeat(times, 1), boxes)
        return self.coder.encode(
            geometry.centers.repeat(times, 1), boxes
        ) / geometry.strides.repeat(times, 1)

    def boxes(self, reg: Tensor, geometry: Geometry) -> Tensor:
        """(N, P, R) regression outputs as (N * P, 4) boxes, xyxy in pixels."""
        return decode(self.head.bbox_coder, reg, geometry)

    def compared_boxes(self, reg: Tensor, geometry: Geometry) -> Tensor:
        """As :meth:`boxes`, but each box has an area.

        See :func:`~crosskd.heads.decoding.with_area`.
        """
        boxes = self.boxes(reg, geometry)
        return boxes if self.boxes_have_area else with_area(boxes)
