"""The regression outputs of a head as boxes, and in what losses compare."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from torch import Tensor

from .decoding import decode, with_area
from .priors import HeadPriors
from .records import Geometry


class HeadBoxes(HeadPriors):
    """What a head adapter knows of the boxes that its head predicts.

    Args:
        head: an mmdet head with a ``bbox_coder``, or whose adapter says how
            its :meth:`boxes` are decoded.
    """

    #: whether ``reg`` are distances in pixels
    predicts_distances = False
    #: whether no output of the head can be decoded to a box whose sides are
    #: inside out, or zero (but by the rounding of a power, which then has no
    #: gradient either)
    boxes_have_area = False

    @property
    def forms(self) -> dict[str, Callable[[Tensor, Geometry], Tensor]]:
        """In which forms regression outputs can be compared.

        Each takes (N, P, R) outputs and the geometry of the P priors.
        """
        return dict(boxes=self.compared_boxes, encoded=self.encoded)

    def encoded(self, reg: Tensor, geometry: Geometry) -> Tensor:
        """(N, P, R) regression outputs as (N * P, 4) encoded boxes.

        Deltas where the head predicts deltas; where it predicts distances,
        distances in units of the level's stride, so that those of all levels
        are of similar size.
        """
        if self.predicts_distances:
            reg = reg / geometry.strides
        return reg.flatten(0, 1)

    @property
    def coder(self) -> Any:
        """What decodes boxes and encodes them; None if the adapter does."""
        return getattr(self.head, 'bbox_coder', None)

    @property
    def num_bins(self) -> int | None:
        """Bins per side where boxes are predicted as distributions."""
        return None

    def encodes_like(self, levels: Sequence[int], other: 'HeadBoxes',
                     others_levels: Sequence[int]) -> bool:
        """Whether equal numbers are equal boxes, of this head and another.

        Args:
            levels, others_levels: of both heads, of equal strides.
            other: a head of the same family.
        """
        if self._device.type == 'meta':  # without values it cannot be asked
            return True
        (reg, *ours), (same, *theirs) = (
            self._sample(levels, 3.0), other._sample(others_levels, 3.0))
        return reg.shape == same.shape and all(map(torch.equal, ours, theirs))

    def can_encode_for(self, levels: Sequence[int],
                       other: 'HeadBoxes') -> bool:
        """Whether :meth:`encode` takes boxes of such a head.

        It has to undo :meth:`boxes`, and both to be of one kind of coder: the
        sides of another's boxes may have no logarithm.
        """
        if self.coder is None or type(self.coder) is not type(other.coder):
            return False
        # of small numbers, for large ones may be clamped
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
        """Regression outputs of that size, their boxes, and these encoded."""
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
        """:meth:`boxes`, each of them with an area.

        See :func:`~crosskd.heads.decoding.with_area`.
        """
        boxes = self.boxes(reg, geometry)
        return boxes if self.boxes_have_area else with_area(boxes)
