"""Why a box is wrong.

The idea of sorting errors by their cause comes from TIDE (Bolya et al., ECCV
2020).  Here there are fewer kinds.
"""
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.mask import iou

from .judging import IOU, Judged

NEAR = 0.1  # IoU from which a box is taken as an attempt at an object
TWICE, CLASS, PLACE, GROUND = KINDS = (
    'twice', 'other class', 'misplaced', 'background')
RULE = (f'Each wrong box counts as the first of these kinds that applies: '
        f'{TWICE} (a box with a higher score found its object), '
        f'{CLASS} (IoU ≥ {IOU} with an object of another class), '
        f'{PLACE} (IoU ≥ {NEAR} with an object of its class), '
        f'{GROUND} (none of these).')


def kinds(judged: Judged, objects: Sequence[dict]) -> list[str | None]:
    """The kind of each wrong box of one image.

    Args:
        judged: the boxes.
        objects: the annotations that they were compared with.

    Returns:
        list: one of :data:`KINDS` for each box; None for a right box.
    """
    if not judged.boxes:
        return []
    overlaps = np.zeros((len(judged.boxes), 0))
    if objects:
        overlaps = iou([b['bbox'] for b in judged.boxes],
                       [o['bbox'] for o in objects], [0] * len(objects))
    labels = np.array([o['category_id'] for o in objects])
    return [None if found >= 0 else _kind(row, labels == box['category_id'])
            for box, found, row in zip(judged.boxes, judged.found, overlaps)]


def _kind(overlaps: np.ndarray, own: np.ndarray) -> str:
    """
    Args:
        overlaps: IoU of a wrong box with every object.
        own: which objects are of its class.
    """
    same = overlaps[own].max(initial=0)
    if same >= IOU:
        return TWICE
    if overlaps[~own].max(initial=0) >= IOU:
        return CLASS
    return PLACE if same >= NEAR else GROUND


def counted(judged: Mapping[Any, Judged],
            objects: Mapping[Any, Sequence[dict]],
            score: float) -> dict[str, Any]:
    """Count found and missed objects and wrong boxes in all images.

    Args:
        judged: the detections, by image id.
        objects: the annotations that they were compared with.
        score: the threshold of the detections.

    Returns:
        dict: this ``score``, ``found`` and ``missed`` objects, and boxes that
        are ``wrong`` by :data:`KINDS`.
    """
    wrong = Counter(kind for number, one in judged.items()
                    for kind in kinds(one, objects[number]))
    return dict(score=score,
                found=sum(len(one.right) for one in judged.values()),
                missed=sum(one.missed for one in judged.values()),
                wrong={kind: wrong[kind] for kind in KINDS})
