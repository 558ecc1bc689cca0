"""Box regions: the inside of each ground-truth box, whose label is known."""
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..losses.logit_maps import LogitMaps
from ..numerics.constants import constant, to_device
from ..numerics.precision import at_least_float32
from ..pairs import DensePass
from ..registry import REGIONS
from .map_regions import image_sizes, locations_inside

POINTS = 8  # sampled along each side of a box
OUTSIDE = -3.0  # of every level, as grid_sample counts
KEPT_BATCHES = 8


@REGIONS.register_module(name='box')
def box_regions(paired: DensePass, prediction: str) -> list[LogitMaps]:
    """Logits sampled inside each ground-truth box, on the box's own level.

    The logits are interpolated at a regular grid of points in the part of the
    box that is inside the image.  So a box may be smaller than the stride.

    Example config: ``sdd_regions=dict(box=dict(base='bernoulli',
    scales=(1, 2, 4)))``.

    Args:
        paired: the outputs of both detectors for a batch; its samples have
            ``gt_instances``.  Boxes whose class or level the detectors do not
            share do not count.
        prediction: whose logits learn.

    Returns:
        list[LogitMaps]: A maps of 8 × 8 points for each box, in the order of
        images and boxes; their ``shares`` say the level.
    """
    head, pair, samples = paired.teacher, paired.pair, paired.samples
    maps = paired.class_maps(prediction)
    boxes = [get_box_tensor(s.gt_instances.bboxes).float() for s in samples]
    counts = [len(b) for b in boxes]
    padded = pad_sequence(boxes, batch_first=True)  # (N, n, 4)
    levels = constant(tuple(paired.teacher_levels), torch.long, padded.device)
    limits, *places = _layout(
        tuple((x.size(2), x.size(3)) for _, x in maps),
        tuple(tuple(head.strides[level]) for level in paired.teacher_levels),
        image_sizes(samples), head.offset, padded.device)
    padded = padded.clamp(
        constant((0.0, ), padded.dtype, padded.device), limits)
    level_of = head.level_of(padded.flatten(0, 1)).view(padded.shape[:2])
    shares = level_of.unsqueeze(-1) == levels  # (N, n, L)
    grids = _grids(padded, shares, places, head.offset,
                   at_least_float32(maps[0][0][:0]).dtype)
    ours = _sample([x for x, _ in maps], grids, counts, head.num_priors)
    with torch.no_grad():
        theirs = _sample([x for _, x in maps], grids, counts, head.num_priors)
    real = torch.cat([image[:n] for image, n in zip(shares, counts)])
    labels = pair.shared_labels(
        torch.cat([s.gt_instances.labels for s in samples]))
    if not pair.all_classes:
        real = real & (labels >= 0).unsqueeze(1)
        labels = labels.clamp(min=0)
    return [LogitMaps(ours, theirs,
                      labels=_of_anchors(labels, head.num_priors),
                      shares=_of_anchors(real, head.num_priors))]


box_regions.points = POINTS


@lru_cache(KEPT_BATCHES)
def _layout(sizes: Sequence[tuple[int, int]],
            strides: Sequence[tuple[int, int]],
            images: Sequence[tuple[int, int]], offset: float,
            device: torch.device) -> list[Tensor]:
    """Everything about the sample points that depends on sizes only, float32.

    Args:
        sizes: height and width of each of L levels.
        strides: of each, in x and y.
        images: height and width of each of N images.
        offset: of the first location of a level, in units of the stride.
        device: where the boxes are.

    Returns:
        list: (N, 1, 4), how far boxes reach; and of L levels, N images, their
        boxes, x and y, and points: (8, ) where these are along a side,
        (L, 1, 1, 2, 1) strides, (L, N, 1, 2, 1) last locations whose centre
        is in the image, and for ``grid_sample`` (L, 1, 1, 2, 1) half the
        extent of a level and how far its first location is from the border.
    """
    across = np.array([size[::-1] for size in sizes], float)
    # where first and last location are -1 and 1, one of one location is lost
    corners = across.min(1, keepdims=True) > 1
    last = [[[max(locations_inside(count, extent, step, offset) - 1, 0)
              for count, extent, step in zip(size[::-1], image[::-1], stride)]
             for image in images] for size, stride in zip(sizes, strides)]
    level = (len(sizes), 1, 1, 2, 1)
    return to_device([
        np.array([[[w, h, w, h]] for h, w in images]),
        (np.arange(POINTS) + 0.5) / POINTS,
        np.array(strides).reshape(level),
        np.array(last).reshape(len(sizes), -1, 1, 2, 1),
        np.where(corners, across - 1, across).reshape(level) / 2,
        np.where(corners, 0, np.full_like(across, 0.5)).reshape(level)
    ], torch.float32, device)


def _grids(boxes: Tensor, shares: Tensor, places: Sequence[Tensor],
           offset: float, dtype: torch.dtype) -> Tensor:
    """Points of a grid inside boxes, as ``grid_sample`` takes them.

    Args:
        boxes: (N, n, 4), xyxy in pixels.
        shares: (N, n, L), bool, which boxes belong to a level.
        places: see :func:`_layout`.
        offset: of the first location, in units of the stride.
        dtype: of the maps.

    Returns:
        Tensor: (L, N, n * 8, 8, 2), not beyond the last location whose centre
        is in the image; outside of the map for boxes of other levels.
    """
    part, stride, last, half, border = places
    low, high = boxes[:, :, :2, None], boxes[:, :, 2:, None]
    place = (low + (high - low) * part) / stride - offset
    place = place.clamp(min=0).minimum(last).to(dtype)
    place = ((place + border) / half - 1).masked_fill(
        ~shares.movedim(2, 0)[..., None, None], OUTSIDE)
    x, y = place.unbind(3)  # (L, N, n, 8)
    return torch.stack([
        x.unsqueeze(3).expand(-1, -1, -1, POINTS, -1),
        y.unsqueeze(4).expand(-1, -1, -1, -1, POINTS)
    ], -1).flatten(2, 3)


def _sample(maps: Sequence[Tensor], grids: Tensor, counts: Sequence[int],
            anchors: int) -> Tensor:
    """Interpolate each box on its level.

    Args:
        maps: per level (N, A * K, H, W).
        grids: (L, N, n * 8, 8, 2).
        counts: how many boxes each image has, at most n.
        anchors: A.

    Returns:
        Tensor: (sum of counts * A, K, 8, 8), in float32 at least.
    """
    levels = [
        F.grid_sample(
            at_least_float32(x), grid, align_corners=min(x.shape[2:]) > 1)
        for x, grid in zip(maps, grids)
    ]
    # a box is 0 on all levels but its own
    sampled = sum(levels[1:], levels[0])
    n = sampled.size(2) // POINTS
    boxes = sampled.unflatten(2, (n, POINTS)).transpose(1, 2)
    real = torch.cat([image[:n] for image, n in zip(boxes, counts)])
    return real.unflatten(1, (anchors, -1)).flatten(0, 1)


def _of_anchors(x: Tensor, anchors: int) -> Tensor:
    """Repeat the values of (n, ...) boxes for A maps of each: (n * A, ...)."""
    return x.unsqueeze(1).expand(-1, anchors, *x.shape[1:]).flatten(0, 1)
