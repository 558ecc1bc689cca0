"""Box regions: the inside of each ground-truth box, whose label is known."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..numerics.precision import at_least_float32
from ..pairs import PairedPass
from ..registry import REGIONS
from .logit_maps import LogitMaps

POINTS = 8  # sampled along each side of a box


@REGIONS.register_module(name='box')
def box_regions(paired: PairedPass, prediction: str) -> list[LogitMaps]:
    """Logits sampled inside each ground-truth box, on the level it belongs to.

    A regular grid of points is laid over the part of the box that is inside
    the image, and the logits are interpolated there; so a box may be smaller
    than the stride.

    Args:
        paired: what both detectors made of a batch; its samples have
            ``gt_instances``.  Boxes of other than the shared classes are left
            out.
        prediction: whose logits learn.

    Returns:
        list[LogitMaps]: per level A maps of 8 × 8 points a box.
    """
    head, samples = paired.teacher, paired.samples
    boxes = [_clipped(s) for s in samples]
    labels = [paired.pair.shared_labels(s.gt_instances.labels)
              for s in samples]
    levels = [head.level_of(b) for b in boxes]
    if not paired.pair.all_classes:
        levels = [torch.where(label >= 0, level, -1)
                  for level, label in zip(levels, labels)]
    regions = []
    for level, (ours, theirs) in zip(paired.teacher_levels,
                                     paired.class_maps(prediction)):
        here = [found == level for found in levels]
        places = _places([b[i] for b, i in zip(boxes, here)], samples,
                         head.strides[level], head.offset)
        ours = _sample(ours, places, head.num_priors)
        with torch.no_grad():
            theirs = _sample(theirs, places, head.num_priors)
        label = torch.cat([every[i] for every, i in zip(labels, here)])
        regions.append(
            LogitMaps(ours, theirs,
                      labels=label.repeat_interleave(head.num_priors)))
    return regions


box_regions.points = POINTS


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
