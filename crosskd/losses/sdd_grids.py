"""The grids of SDD: means of maps over the cells of every scale.

A map's grid covers a rectangle, so the mean over a cell is a mean over rows
of means over columns: two matrix products.  The matrices depend on sizes
only; they are made on the host, and the latest ones are kept on the device.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigValueError
from ..numerics.constants import to_device

# The published method pools to this grid first, and from it to its divisors.
GRID = 4
KEPT_GRIDS = 16

Sizes = tuple[tuple[int, int], ...]


@dataclass
class Grids:
    """Grids over maps of several sizes, of G images each.

    The first cell of each map is the whole map.  There are n cells.

    Attributes:
        columns: per size (G, c, W), what each column of cells averages.
        rows: per size (G * c, r, H), what the rows of each column average.
        used: (n, ), which of the c * r products of all sizes are cells.
        first: (n, ), for each cell the first one of the same size.
        exists: (G, n, 1), 1 for cells that count, else 0.
        sizes: (n, number of sizes), 1 for the size that a cell is of, else 0.
    """
    columns: list[Tensor]
    rows: list[Tensor]
    used: Tensor
    first: Tensor
    exists: Tensor
    sizes: Tensor

    def means(self, maps: Sequence[Tensor]) -> Tensor:
        """Average over cells.

        Args:
            maps: per size (G * b, C, H, W).

        Returns:
            Tensor: (G, n, b * C).
        """
        products = []
        for x, columns, rows in zip(maps, self.columns, self.rows):
            g, c, width = columns.shape
            b, channels, height, _ = x.shape
            inner = b // g * channels
            across = columns @ x.reshape(g, inner * height,
                                         width).transpose(1, 2)
            down = rows @ across.view(g * c, inner, height).transpose(1, 2)
            products.append(down.view(g, c * rows.size(1), inner))
        return torch.cat(products, 1).index_select(1, self.used)


@lru_cache(KEPT_GRIDS)
@torch.inference_mode(False)  # backward passes need them, too
def lay_grids(sizes: Sizes, extents: tuple[Sizes, ...],
              scales: tuple[int, ...], dtype: torch.dtype,
              device: torch.device) -> Grids:
    """Lay the grids of several scales over maps.

    Scales that are finer than a map, or than the part of it inside its image,
    are left out.

    Args:
        sizes: height and width of the maps.
        extents: for every size, height and width of the part that is inside
            each of G images.
        scales: cells per side.
        dtype: of the maps.
        device: where they are.

    Raises:
        ValueError: an extent is larger than its map.
    """
    fitting = tuple((1, *(m for m in scales if 1 < m <= min(size)))
                    for size in sizes)
    matrices = []
    exists = []
    for size, images, fits in zip(sizes, extents, fitting):
        inside = np.array(images)
        if inside.min() < 0 or (inside > size).any():
            raise ConfigValueError(
                f'extents must be at most {size[0]}×{size[1]}, '
                f'the size of the logit maps, found {images}')
        rows, columns = (_bins(inside[:, axis], size[axis], fits)
                         for axis in (0, 1))
        # the last one, empty, fills up cells that have fewer rows
        matrices += [columns[:, :-1], rows]
        scale = np.repeat(fits, np.square(fits))  # of each cell
        exists.append(np.isin(scale, scales)
                      & (scale <= inside.min(1, keepdims=True)))
    *parts, existing = to_device(
        [*matrices, np.concatenate(exists, 1)[..., None]], dtype, device)
    used, first, size_of, *beside = _cells(fitting, dtype, device)
    # each column of cells gets only its own rows
    own = [x.index_select(1, which).view(-1, max(fits), x.size(2))
           for x, which, fits in zip(parts[1::2], beside, fitting)]
    return Grids(parts[::2], own, used, first, existing, size_of)


@lru_cache(KEPT_GRIDS)
def _cells(fitting: tuple[tuple[int, ...], ...], dtype: torch.dtype,
           device: torch.device) -> list[Tensor]:
    """Everything that depends only on the scales of each size.

    Returns:
        list: ``used``, ``first`` and ``sizes`` of :class:`Grids`, and for
        every size the rows of each column of cells: those of its scale,
        filled up with the last row.
    """
    used: list[int] = []
    first: list[int] = []
    beside: list[list[int]] = []
    start = 0
    for scales in fitting:
        widest, rows = max(scales), range(sum(scales))
        first += [len(used)] * sum(m * m for m in scales)
        beside.append([])
        for m in scales:
            for _ in range(m):
                used += range(start, start + m)
                beside[-1] += [*rows[:m], *[sum(scales)] * (widest - m)]
                start += widest
            rows = rows[m:]
    counts = [sum(m * m for m in scales) for scales in fitting]
    size_of = np.repeat(np.eye(len(fitting)), counts, 0)
    return [
        *to_device([np.array(used), np.array(first)], torch.long, device),
        *to_device([size_of], dtype, device),
        *to_device([np.array(b) for b in beside], torch.long, device)
    ]


def _bins(extents: np.ndarray, size: int,
          scales: tuple[int, ...]) -> np.ndarray:
    """Which part of a map's side each bin averages.

    The bins are those of adaptive pooling, over the (G, ) extents.

    Returns:
        ndarray: (G, sum of scales + 1, size); the last averages nothing.
    """
    fine, mix = _mix(scales)
    count = np.repeat(fine, fine)
    index = np.concatenate([np.arange(m) for m in fine])
    extents = extents[:, None]
    low = index * extents // count
    high = -(-(index + 1) * extents // count)
    position = np.arange(size)
    inside = (position >= low[..., None]) & (position < high[..., None])
    return mix @ (inside / np.maximum(high - low, 1)[..., None])


@lru_cache(KEPT_GRIDS)
def _mix(scales: tuple[int, ...]) -> tuple[list[int], np.ndarray]:
    """The scales that are pooled, and how to make all scales from them."""
    of = {m: GRID if GRID % m == 0 else m for m in scales}
    fine = sorted(set(of.values()))
    starts = dict(zip(fine, np.cumsum([0, *fine]).tolist()))
    mix = np.zeros((sum(scales) + 1, sum(fine)))
    row = 0
    for m in scales:
        step = of[m] // m
        for i in range(m):
            first = starts[of[m]] + i * step
            mix[row, first:first + step] = 1 / step
            row += 1
    return fine, mix
