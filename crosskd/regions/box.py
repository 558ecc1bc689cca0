"""Box regions: the inside of each ground-truth box, whose label is known."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..heads import HeadFamily
from ..precision import at_least_float32
from .logit_maps import LogitMaps

POINTS = 8  # sampled along each side of a box


def box_regions(student: Sequence[Tensor], teacher: Sequence[Tensor],
                reader: HeadFamily,
                samples: SampleList) -> list[LogitMaps]:
    """Logits sampled inside each ground-truth box, on the level it belongs to.

    A regular grid of points is laid over the part of the box that is inside
    the image, and the logits are interpolated there; so a box may be smaller
    than the stride.

    Args:
        student, teacher: per level (N, A * K, H, W) classification logits.
        reader: the head whose layout of outputs both have.
        samples: N samples with ``gt_instances``.

    Returns:
        list[LogitMaps]: per level A maps of 8 × 8 points a box.
    """
    boxes = [_clipped(s) for s in samples]
    levels = [reader.level_of(b) for b in boxes]
    regions = []
    for level, (x, t, anchors, stride) in enumerate(
            zip(student, teacher, reader.num_priors, reader.strides)):
        here = [found == level for found in levels]
        labels = torch.cat(
            [s.gt_instances.labels[i] for s, i in zip(samples, here)])
        places = _places([b[i] for b, i in zip(boxes, here)], samples, stride,
                         reader.offset)
        x = _sample(x, places, anchors)
        with torch.no_grad():
            t = _sample(t, places, anchors)
        regions.append(
            LogitMaps(x, t, labels=labels.repeat_interleave(anchors)))
    return regions


def _clipped(sample: DetDataSample) -> Tensor:
    """(n, 4) ground-truth boxes, as far as they lie in the image."""
    height, width = sample.img_shape[:2]
    boxes = get_box_tensor(sample.gt_instances.bboxes).float()
    limit = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limit)


def _places(boxes: Sequence[Tensor], samples: SampleList,
            stride: Sequence[int], offset: float) -> list[Tensor]:
    """Points of a grid inside boxes, as places on a level.

    Args:
        boxes: per image (n_i, 4), xyxy in pixels.
        samples: for the extent of each image.
        stride: of the level, in x and y.
        offset: of its first location, in units of the stride.

    Returns:
        list[Tensor]: per image (n_i, 2, 8), x and y in units of locations, not
        beyond the last location whose centre is in the image.
    """
    places = []
    for b, sample in zip(boxes, samples):
        part = (torch.arange(POINTS, device=b.device) + 0.5) / POINTS
        step, extent = b.new_tensor(stride), b.new_tensor(
            sample.img_shape[1::-1])
        low, high = b[:, :2, None], b[:, 2:, None]
        last = ((extent / step - offset).ceil() - 1).clamp(min=0)
        place = (low + (high - low) * part) / step[:, None] - offset
        places.append(place.clamp(min=0).minimum(last[:, None]))
    return places


def _sample(maps: Tensor, places: Sequence[Tensor], anchors: int) -> Tensor:
    """Interpolate maps at the points of a grid inside boxes.

    Args:
        maps: (N, A * K, H, W).
        places: per image (n_i, 2, 8).
        anchors: A.

    Returns:
        Tensor: (sum of n_i * A, K, 8, 8), in float32 at least.
    """
    maps = at_least_float32(maps)
    size = maps.new_tensor([maps.size(3), maps.size(2)])
    padded = pad_sequence(list(places), batch_first=True).to(maps.dtype)
    # as grid_sample counts: from -1 to 1 between first and last location
    x, y = (padded * 2 / (size - 1).clamp(min=1)[:, None] - 1).unbind(2)
    grid = torch.stack([
        x[:, :, None, :].expand(-1, -1, POINTS, -1),
        y[:, :, :, None].expand(-1, -1, -1, POINTS)
    ], -1)
    sampled = F.grid_sample(
        maps, grid.flatten(1, 2), padding_mode='border', align_corners=True)
    sampled = sampled.unflatten(2, (padded.size(1), POINTS)).transpose(1, 2)
    real = [image[:len(p)] for image, p in zip(sampled, places)]
    return torch.cat(real).unflatten(1, (anchors, -1)).flatten(0, 1)
