"""RoIAlign in torch, with the semantics of mmcv's compiled op.

What: ``roi_align_forward`` and ``roi_align_backward`` of the replacement in
:mod:`crosskd.compat.mmcv_ext`.
Why: two-stage detectors and masks need RoIAlign.
Until: that replacement is no longer needed.

A box is divided into bins.  A bin has a grid of samples, which are
interpolated bilinearly (He et al., arXiv 1703.06870, section 3).  In a sample,
the weight of a pixel is the weight of its row times that of its column.  So
all samples of a box are ``rows · map · columnsᵀ``, with a matrix for each
axis, and so are the means over bins.
"""
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

AT_ONCE = 2**24  # numbers in the largest intermediate result
NOTHING = -10000.0  # the compiled op's maximum over no samples


@dataclass
class _Boxes:
    """Boxes whose bins have equally many samples.

    Attributes:
        index: (r, ), which boxes they are.
        y, x: (r, bins, samples) coordinates in pixels of the map.
        rows: (r * i, N * H) sparse; i is bins, or samples of all bins.
        columns: (r, j, W), likewise.
    """
    index: Tensor
    y: Tensor
    x: Tensor
    rows: Tensor
    columns: Tensor


def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor,
                      argmax_y: Tensor, argmax_x: Tensor, aligned_height: int,
                      aligned_width: int, spatial_scale: float,
                      sampling_ratio: int, pool_mode: int,
                      aligned: bool) -> None:
    """Pool the features of boxes.

    Args:
        input: (N, C, H, W).
        rois: (R, 5), index of the image, and xyxy in its pixels.
        output: (R, C, aligned_height, aligned_width), overwritten.
        argmax_y, argmax_x: of that shape, overwritten with the position of the
            largest sample of a bin; empty for the mean.
        aligned_height, aligned_width: bins of a box.
        spatial_scale: pixels of the map per pixel of the image.
        sampling_ratio: samples of a bin in y and in x; 0 for one per pixel.
        pool_mode: 0 for the largest of a bin's samples, 1 for their mean.
        aligned: whether the centre of a pixel is half a pixel from its edge.

    Raises:
        RuntimeError: coordinates of a box are not finite, or (``aligned``) its
            width or height is negative.
    """
    _, channels, _, width = input.shape
    bins = aligned_height, aligned_width
    # mmcv calls this under autocast, too
    with torch.autocast(input.device.type, enabled=False):
        maps = input.to(_wide(input)).transpose(1, 2).reshape(
            -1, channels * width)
        for boxes in _alike(rois, input.shape, _wide(input), bins,
                            spatial_scale, sampling_ratio, pool_mode, aligned):
            if pool_mode == 0 and 0 in (boxes.y.size(2), boxes.x.size(2)):
                output[boxes.index] = NOTHING
                argmax_y[boxes.index] = argmax_x[boxes.index] = -1
                continue
            pooled = (boxes.rows @ maps).view(
                len(boxes.index), -1, width) @ boxes.columns.transpose(1, 2)
            if pool_mode == 1:
                output[boxes.index] = pooled.view(
                    -1, bins[0], channels, bins[1]).transpose(1, 2).to(output)
                continue
            samples = pooled.view(
                -1, bins[0], boxes.y.size(2), channels, bins[1],
                boxes.x.size(2)).permute(0, 3, 1, 4, 2, 5)
            most, at = samples.flatten(4).max(4)
            y, x = (c.expand_as(samples).flatten(4).gather(4, at[..., None])
                    for c in (boxes.y[:, None, :, None, :, None],
                              boxes.x[:, None, None, :, None, :]))
            output[boxes.index] = most.to(output)
            argmax_y[boxes.index] = y[..., 0].to(output)
            argmax_x[boxes.index] = x[..., 0].to(output)


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor,
                       argmax_x: Tensor, grad_input: Tensor,
                       aligned_height: int, aligned_width: int,
                       spatial_scale: float, sampling_ratio: int,
                       pool_mode: int, aligned: bool) -> None:
    """Gradient of :func:`roi_align_forward` with respect to ``input``.

    Args:
        grad_output: (R, C, aligned_height, aligned_width).
        rois, argmax_y, argmax_x: as in the forward function.
        grad_input: (N, C, H, W), overwritten with the gradient.
        aligned_height, aligned_width, spatial_scale, sampling_ratio,
            pool_mode, aligned: as in the forward function.
    """
    grad = grad_output.to(_wide(grad_output))
    number, channels, height, width = grad_input.shape
    with torch.autocast(grad.device.type, enabled=False):
        if pool_mode == 0:
            grad_input.copy_(_of_largest(grad, rois, argmax_y, argmax_x,
                                         grad_input.shape))
            return
        of_maps = grad.new_zeros(number * height, channels * width)
        for boxes in _alike(rois, grad_input.shape, grad.dtype,
                            (aligned_height, aligned_width), spatial_scale,
                            sampling_ratio, pool_mode, aligned):
            of_rows = grad[boxes.index].transpose(1, 2).flatten(
                1, 2) @ boxes.columns
            of_maps.addmm_(boxes.rows.t(),
                           of_rows.view(-1, channels * width))
        grad_input.copy_(of_maps.view(number, height, channels,
                                      width).transpose(1, 2))


def _of_largest(grad: Tensor, rois: Tensor, y: Tensor, x: Tensor,
                shape: torch.Size) -> Tensor:
    """The gradient that the largest samples give to the pixels around them."""
    _, channels, height, width = shape
    found = grad.new_zeros(shape)
    # -1 means no samples; the compiled op also ignores a sample there
    grad = grad * (y != -1)
    maps = rois[:, 0].long()[:, None] * channels + torch.arange(
        channels, device=grad.device)
    rows, of_rows = _pixels(y.to(grad), height)
    columns, of_columns = _pixels(x.to(grad), width)
    for i in range(2):
        for j in range(2):
            index = (maps[..., None, None] * height
                     + rows[..., i]) * width + columns[..., j]
            given = grad * of_rows[..., i] * of_columns[..., j]
            found.view(-1).index_add_(0, index.flatten(), given.flatten())
    return found


def _wide(x: Tensor) -> torch.dtype:
    """The type to compute in."""
    return torch.promote_types(x.dtype, torch.float32)


def _alike(rois: Tensor, shape: torch.Size, dtype: torch.dtype,
           bins: tuple[int, int], scale: float, sampling_ratio: int,
           pool_mode: int, aligned: bool) -> Iterator[_Boxes]:
    """Yield groups of boxes whose bins have equally many samples."""
    _, channels, height, width = shape
    corners = rois[:, 1:].to(dtype) * scale - 0.5 * aligned
    low = corners[:, :2].flip(1)  # y and x
    size = corners[:, 2:].flip(1) - low
    if not aligned:
        size = size.clamp(min=1)
    if not bool((size.isfinite() & (size >= 0) & low.isfinite()).all()):
        raise RuntimeError(
            'RoIAlign: boxes must be finite, with x1 <= x2 and y1 <= y2; '
            f'found boxes from {rois.min(0)[0].tolist()} to '
            f'{rois.max(0)[0].tolist()} (index of the image, xyxy)')
    cells = size / size.new_tensor(bins)
    samples = (cells.ceil().long() if sampling_ratio <= 0 else
               torch.full_like(cells, sampling_ratio, dtype=torch.long))
    for grid in samples.unique(dim=0).tolist():
        index = (samples == samples.new_tensor(grid)).all(1).nonzero()[:, 0]
        largest = channels * max(width, bins[1] * grid[1]) * bins[0] * (
            1 if pool_mode else grid[0])
        for some in index.split(max(1, AT_ONCE // max(1, largest))):
            y, x = (_coordinates(low[some, k], cells[some, k], bins[k],
                                 grid[k]) for k in range(2))
            rows, columns = (
                _matrix(c, side, pool_mode == 1)
                for c, side in ((y, height), (x, width)))
            yield _Boxes(some, y, x, _of_images(rows, rois[some, 0], shape),
                         columns)


def _coordinates(low: Tensor, cell: Tensor, bins: int,
                 samples: int) -> Tensor:
    """(r, bins, samples) coordinates along an axis, evenly in each bin."""
    first = low[:, None] + torch.arange(
        bins, device=low.device) * cell[:, None]
    within = torch.arange(samples, device=low.device) + 0.5
    return first[..., None] + within * cell[:, None, None] / samples


def _pixels(at: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Indices and weights, (…, 2), of the pixels before and after a position.

    Up to one pixel outside the map they are those of its edge; further outside
    the weights are 0.
    """
    inside = (at >= -1) & (at <= side)
    at = at.clamp(0, side - 1)
    before = at.floor()
    weight = torch.stack([1 - (at - before), at - before], -1)
    pixels = torch.stack([before, (before + 1).clamp(max=side - 1)], -1)
    return pixels.long(), weight * inside[..., None]


def _matrix(at: Tensor, side: int, mean: bool) -> Tensor:
    """(r, i, side) weights of pixels in each sample, or their mean in a bin.
    """
    pixels, weights = _pixels(at, side)
    if mean:
        weights = weights / max(at.size(2), 1)
    pixels, weights = (v.flatten(2) if mean else v.flatten(1, 2)
                       for v in (pixels, weights))
    return at.new_zeros(*pixels.shape[:2], side).scatter_add_(
        2, pixels, weights)


def _of_images(matrix: Tensor, images: Tensor, shape: torch.Size) -> Tensor:
    """(r * i, N * H), sparse: each box's rows in the map of its image."""
    number, _, height, _ = shape
    box, row, pixel = matrix.nonzero(as_tuple=True)
    index = torch.stack([box * matrix.size(1) + row,
                         images.long()[box] * height + pixel])
    return torch.sparse_coo_tensor(
        index, matrix[box, row, pixel],
        (matrix.size(0) * matrix.size(1), number * height),
        check_invariants=False)
