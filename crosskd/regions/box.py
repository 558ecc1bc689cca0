"""Every ground-truth box is a region with a known label."""
from typing import List, Sequence

import torch
import torch.nn.functional as F
from mmdet.structures import SampleList
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..heads import HeadFamily
from .logit_maps import LogitMaps

POINTS = 8  # sampled along each side of a box


def box_regions(student: Sequence[Tensor], teacher: Sequence[Tensor],
                reader: HeadFamily,
                samples: SampleList) -> List[LogitMaps]:
    """Logits sampled inside each ground-truth box, on the level it belongs to.

    A regular grid of points is laid over the box, as far as it lies in the
    image, and the logits are interpolated there; so a box may be smaller than
    a location.

    Args:
        student, teacher: per level (N, A * K, H, W) classification logits.
        reader: family of the head that both are outputs of.
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
        # both in one, so that both are read at the same places
        sampled = _sample(
            torch.cat([x.float(), t.float()], 1),
            [b[i] for b, i in zip(boxes, here)], stride, reader.offset)
        x, t = (part.unflatten(1, (anchors, -1)).flatten(0, 1)
                for part in sampled.chunk(2, 1))
        regions.append(
            LogitMaps(x, t, labels=labels.repeat_interleave(anchors)))
    return regions


def _clipped(sample) -> Tensor:
    """(n, 4) ground-truth boxes, as far as they lie in the image."""
    height, width = sample.img_shape[:2]
    boxes = get_box_tensor(sample.gt_instances.bboxes).float()
    limit = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limit)


def _sample(maps: Tensor, boxes: Sequence[Tensor], stride: Sequence[int],
            offset: float) -> Tensor:
    """Interpolate maps at the points of a grid inside boxes.

    Args:
        maps: (N, C, H, W).
        boxes: per image (n_i, 4), xyxy in pixels.
        stride: of the maps, in x and y.
        offset: of the first location, in units of the stride.

    Returns:
        Tensor: (sum of n_i, C, 8, 8).
    """
    h, w = maps.shape[2:]
    padded = pad_sequence(list(boxes), batch_first=True)  # (N, n, 4)
    count = padded.size(1)
    part = (torch.arange(POINTS, device=maps.device) + 0.5) / POINTS
    axes = []
    for axis, size in ((0, w), (1, h)):
        low, high = padded[..., axis, None], padded[..., axis + 2, None]
        place = (low + (high - low) * part) / stride[axis] - offset
        axes.append(place * 2 / max(size - 1, 1) - 1)
    grid = torch.stack(
        [
            axes[0][:, :, None, :].expand(-1, -1, POINTS, -1),
            axes[1][:, :, :, None].expand(-1, -1, -1, POINTS)
        ], -1).flatten(1, 2)
    sampled = F.grid_sample(
        maps, grid, padding_mode='border', align_corners=True)
    sampled = sampled.unflatten(2, (count, POINTS)).transpose(1, 2)
    real = [image[:len(b)] for image, b in zip(sampled, boxes)]
    return torch.cat(real)
