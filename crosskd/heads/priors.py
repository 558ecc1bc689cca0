"""The priors of a head, cached by the size of the batch."""
import math
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from ..numerics.constants import constant
from ..numerics.last_few import LastFew
from .records import Geometry


class HeadPriors:
    """The part of a head adapter that is about priors (anchors or points).

    Args:
        head: an mmdet head with a ``prior_generator``.
    """

    #: whether the head's own loss also counts priors in the padding
    counts_every_prior = False

    def __init__(self, head: BaseModule) -> None:
        self.head = head
        self._geometries: LastFew[Geometry] = LastFew()
        self._valid: LastFew[Tensor] = LastFew()

    @property
    def strides(self) -> list[tuple[int, int]]:
        """Stride of every level, in x and y, in pixels."""
        return [tuple(s) for s in self.head.prior_generator.strides]

    @property
    def num_priors(self) -> int:
        """Priors per location, the same on all levels."""
        return self.head.prior_generator.num_base_priors[0]

    def geometry(self, sizes: Sequence[Sequence[int]], levels: Sequence[int],
                 device: torch.device) -> Geometry:
        """The priors of some levels; cached for the next batch of this size.

        Args:
            sizes: height and width of the maps of every level of the head.
            levels: indices of the wanted levels.
            device: of the priors.
        """
        return self._geometries.get(
            _key(sizes, levels, device),
            lambda: self._lay_out(sizes, levels, device))

    def _lay_out(self, sizes: Sequence[Sequence[int]], levels: Sequence[int],
                 device: torch.device) -> Geometry:
        every = self.head.prior_generator.grid_priors(sizes, device=device)
        return Geometry(
            torch.cat([every[i] for i in levels]),
            torch.cat([every[i].new_full((len(every[i]), 1),
                                         self.strides[i][0])
                       for i in levels]),
            [len(every[i]) for i in levels])

    def sample_of_priors(self, levels: Sequence[int],
                         device: torch.device) -> Geometry:
        """The priors of some levels, for maps of two by two locations."""
        return self.geometry([(2, 2)] * len(self.strides), levels, device)

    def same_priors(self, levels: Sequence[int], other: 'HeadPriors',
                    others_levels: Sequence[int]) -> bool:
        """Whether the priors of two heads are equal, in number and value."""
        ours, theirs = (
            head.sample_of_priors(which, torch.device('cpu')).priors
            for head, which in ((self, levels), (other, others_levels)))
        return ours.shape == theirs.shape and torch.equal(ours, theirs)

    def valid_priors(self, sizes: Sequence[Sequence[int]],
                     levels: Sequence[int], metas: Sequence[dict],
                     device: torch.device) -> Tensor | None:
        """(N, P) float: 1 for priors inside the padded image; None for all.

        They are the weights if student and teacher have different priors.
        None if :attr:`counts_every_prior`.  Arguments: those of
        :meth:`geometry`, and the meta information of the N images.
        """
        if self.counts_every_prior:
            return None
        shapes = [tuple(meta['pad_shape']) for meta in metas]

        def make() -> Tensor:
            flags = [
                self.head.prior_generator.valid_flags(
                    sizes, shape, device=device) for shape in shapes
            ]
            return torch.stack([
                torch.cat([image[i] for i in levels]) for image in flags
            ]).float()

        return self._valid.get(
            (*_key(sizes, levels, device), *shapes), make)

    @property
    def offset(self) -> float:
        """Where the centre of the first prior is, in units of the stride."""
        priors = self.head.prior_generator
        return (priors.center_offset if hasattr(priors, 'center_offset')
                else priors.offset)

    @property
    def log_sizes(self) -> tuple[float, ...]:
        """Binary logarithm of the size of boxes that each level is for.

        If a head assigns objects by its predictions, the size is eight
        strides, like mmdet's anchors in heads with one anchor per location.
        """
        return tuple(3 + math.log2(x * y) / 2 for x, y in self.strides)

    def level_of(self, boxes: Tensor) -> Tensor:
        """The level that is for boxes of this size.

        Args:
            boxes: (n, 4), xyxy in pixels.

        Returns:
            Tensor: (n, ) indices of levels.
        """
        sizes = constant(self.log_sizes, boxes.dtype, boxes.device)
        return (log_size(boxes)[:, None] - sizes).abs().argmin(1)


def log_size(boxes: Tensor) -> Tensor:
    """Binary logarithm of the size of (n, 4) boxes, the root of their area."""
    # also for boxes whose corners are swapped
    sides = (boxes[:, 2:4] - boxes[:, :2]).abs().clamp(min=1e-6)
    return sides.log2().mean(1)


def _key(sizes: Sequence[Sequence[int]], levels: Sequence[int],
         device: torch.device) -> tuple:
    return tuple(map(tuple, sizes)), tuple(levels), device
