"""Which detections are right, and where detectors differ."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.mask import iou

IOU = 0.5  # from this IoU, a box has found an object


@dataclass(frozen=True)
class Judged:
    """The detections of one image.

    Attributes:
        boxes: the boxes in COCO format, highest score first.
        found: for each box, the index of the object that it found, or -1.
        num_objects: number of objects in the image.
    """
    boxes: tuple[dict, ...]
    found: tuple[int, ...]
    num_objects: int

    @property
    def right(self) -> set[int]:
        """Indices of the objects that are found."""
        return set(self.found) - {-1}

    @property
    def wrong(self) -> int:
        return self.found.count(-1)

    @property
    def missed(self) -> int:
        return self.num_objects - len(self.right)


def found_objects(boxes: Sequence[dict],
                  objects: Sequence[dict]) -> list[int]:
    """Which object of an image each box finds, each object once.

    Args:
        boxes: annotations or detections in COCO format, highest score first.
        objects: the annotations.

    Returns:
        list: for each box, the index of the object that it overlaps most,
        among those of its class that no earlier box found; -1 if no IoU is
        ``IOU`` or more.
    """
    if not boxes or not objects:
        return [-1] * len(boxes)
    overlaps = iou([b['bbox'] for b in boxes], [o['bbox'] for o in objects],
                   [0] * len(objects))
    labels = np.array([o['category_id'] for o in objects])
    left = np.ones(len(objects), bool)
    found = []
    for box, row in zip(boxes, overlaps):
        candidates = np.where(left & (labels == box['category_id']), row, 0)
        best = int(candidates.argmax())
        found.append(best if candidates[best] >= IOU else -1)
        left[best] &= found[-1] < 0
    return found


def judge(boxes: Sequence[dict], objects: Sequence[dict],
          crowds: Sequence[dict]) -> Judged:
    """Judge the detections of one image.

    Args:
        boxes: detections, in any order.
        objects: annotations that must be found.
        crowds: annotations that cover many objects.  As in COCO's evaluation,
            boxes that find nothing do not count if half or more of their area
            is in a crowd of their class.
    """
    boxes = sorted(boxes, key=lambda b: -b['score'])
    found = found_objects(boxes, objects)
    kept = [i for i, box in enumerate(boxes)
            if found[i] >= 0 or not _in_a_crowd(box, crowds)]
    return Judged(tuple(boxes[i] for i in kept),
                  tuple(found[i] for i in kept), len(objects))


def _in_a_crowd(box: dict, crowds: Sequence[dict]) -> bool:
    crowds = [c for c in crowds if c['category_id'] == box['category_id']]
    return bool(crowds) and iou(
        [box['bbox']], [c['bbox'] for c in crowds],
        [1] * len(crowds)).max() >= IOU


def disputed(every: Sequence[Judged]) -> list[int]:
    """Indices of the objects that some detectors find and others miss."""
    numbers = range(every[0].num_objects)
    return [i for i in numbers
            if len({i in one.right for one in every}) > 1]
