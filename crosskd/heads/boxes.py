"""The regression outputs of a head as boxes, and in what losses compare."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from torch import Tensor

from .decoding import decode, with_area
from .layout import Geometry
from .priors import Priors


class Boxes(Priors):
    """What a head adapter knows of the boxes that its head predicts.

    Args:
        head: an mmdet head with a ``bbox_coder``, or whose adapter says how
            its :meth:`boxes` are decoded.
    """

    #: whether ``reg`` are distances in pixels
    predicts_distances = False
    #: whether no output of the head can be decoded to a box whose sides are
    #: zero, or inside out
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
    def bin_places(self) -> tuple[float, ...]:
        """Where the bins of a side are, in units of the stride, if any."""
        return ()

    def encodes_like(self, levels: Sequence[int], other: 'Boxes',
                     others_levels: Sequence[int]) -> bool:
        """Whether equal numbers are equal boxes, of this head and another.

        Args:
            levels, others_levels: of both heads, of equal strides.
            other: a head of the same family.
        """
        return _settings(self.coder) == _settings(other.coder) and torch.equal(
            *(head.sample_of_priors(which).centers
              if isinstance(head.coder, DistancePointBBoxCoder) else
              head.sample_of_priors(which).priors
              for head, which in ((self, levels), (other, others_levels))))

    def can_encode_for(self, other: 'Boxes') -> bool:
        """Whether :meth:`encode` takes boxes of such a head."""
        # of one kind of coder: the boxes of another may have no logarithm
        return self.coder is not None and type(self.coder) is type(
            other.coder)

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


def _settings(coder: Any) -> tuple[type, dict]:
    """What its numbers depend on."""
    return type(coder), {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in getattr(coder, '__dict__', {}).items()
        if key not in ('clip_border', 'use_box_type')}
