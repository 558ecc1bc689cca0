"""The grids of SDD: means of maps over the cells of every scale.

A map's grid lies over a rectangle, so a mean over a cell is a mean over rows
of means over columns, two matrix products.  The matrices follow from sizes
alone; they are made on the host, and the last ones are kept on the device.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..numerics.constants import constant, to_device

# The published method pools to this grid first; its divisors come from it.
GRID = 4
KEPT_GRIDS = 16
KEPT_BINS = 256

Sizes = tuple[tuple[int, int], ...]


@dataclass
class Grids:
    """Grids over maps of several sizes, of G images each.

    Of every map the first cell is the whole of it.  There are n cells.

    Attributes:
        columns: per size (G, c, W), what each column of cells averages.
        rows: per size (G * c, r, H), the same of the rows beside it.
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
@torch.inference_mode(False)  # a backward pass needs them, too
def lay_grids(sizes: Sizes, extents: tuple[Sizes, ...],
              scales: tuple[int, ...], dtype: torch.dtype,
              device: torch.device) -> Grids:
    """Lay the grids of several scales over maps.

    A size does without the scales that are finer than its map, and an image
    without those finer than its extent.

    Args:
        sizes: height and width of the maps.
        extents: for every size, those of what is inside each of G images.
        scales: cells a side.
        dtype: of the maps.
        device: where they are.

    Raises:
        ValueError: an extent is larger than its map.
    """
    fitting = tuple((1, *(m for m in scales if 1 < m <= min(size)))
                    for size in sizes)
    matrices: list[np.ndarray] = []
    exists = []
    for size, images, fits in zip(sizes, extents, fitting):
        for h, w in images:
            if not (0 <= h <= size[0] and 0 <= w <= size[1]):
                raise ValueError(f'extents: {h}×{w} does not fit logit maps '
                                 f'of {size[0]}×{size[1]}')
        rows, columns = (np.stack([
            _bins(image[axis], size[axis], fits) for image in images
        ]) for axis in (0, 1))
        # and a row of nothing, for columns of cells with fewer rows
        rows = np.concatenate([rows, 0 * rows[:, :1]], 1)
        matrices += [columns, rows]
        exists.append([[m in scales and m <= min(image) for m in fits
                        for _ in range(m * m)] for image in images])
    *parts, existing = to_device(
        [*matrices, np.concatenate(exists, 1)[..., None]], dtype, device)
    # of every column of cells its own rows alone
    beside = [
        x.index_select(1, constant(_rows_beside(fits), torch.long, device))
        .view(-1, max(fits), x.size(2))
        for x, fits in zip(parts[1::2], fitting)
    ]
    used, first, size_of = _cells(fitting)
    return Grids(
        parts[::2], beside, constant(used, torch.long, device),
        constant(first, torch.long, device), existing,
        constant(size_of, dtype, device, (-1, len(sizes))))


@lru_cache(KEPT_BINS)
def _bins(extent: int, size: int, scales: tuple[int, ...]) -> np.ndarray:
    """(sum of scales, size): what each bin averages of a map's side.

    The bins are those of adaptive pooling, laid over the extent.
    """
    position, bins = np.arange(size), []
    for m in scales:
        fine = GRID if GRID % m == 0 else m
        index = np.arange(fine)
        low = index * extent // fine
        high = ((index + 1) * extent + fine - 1) // fine
        inside = (position >= low[:, None]) & (position < high[:, None])
        means = inside / np.maximum(high - low, 1)[:, None]
        bins.append(means.reshape(m, fine // m, size).mean(1))
    return np.concatenate(bins)


def _rows_beside(scales: tuple[int, ...]) -> tuple[int, ...]:
    """For every column of cells the rows of its scale, filled up."""
    starts = np.cumsum((0, *scales))
    return tuple(
        start + i if i < m else starts[-1]
        for start, m in zip(starts.tolist(), scales) for _ in range(m)
        for i in range(max(scales)))


def _cells(fitting: tuple[tuple[int, ...], ...]) -> tuple[tuple, ...]:
    """``used``, ``first`` and ``sizes`` of :class:`Grids`."""
    used: list[int] = []
    first: list[int] = []
    size_of: list[float] = []
    start = 0
    for place, scales in enumerate(fitting):
        rows = [m for m in scales for _ in range(m)]
        cells = [start + column * max(scales) + i
                 for column, m in enumerate(rows) for i in range(m)]
        first += [len(used)] * len(cells)
        size_of += [float(i == place) for _ in cells
                    for i in range(len(fitting))]
        used += cells
        start += len(rows) * max(scales)
    return tuple(used), tuple(first), tuple(size_of)
