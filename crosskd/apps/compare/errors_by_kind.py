"""Why a box is wrong.

The idea of sorting errors by their cause is that of TIDE (Bolya et al., ECCV
2020); the kinds are fewer here.
"""
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.mask import iou

from .judging import IOU, Judged

NEAR = 0.1  # a box that overlaps an object so much was meant for it
TWICE, CLASS, PLACE, GROUND = KINDS = (
    'twice', 'other class', 'misplaced', 'background')
RULE = (f'A wrong box is counted as the first of these that applies: '
        f'{TWICE} (its object was found by a box with a higher score), '
        f'{CLASS} (IoU ≥ {IOU} with an object of another class), '
        f'{PLACE} (IoU ≥ {NEAR} with an object of its class), '
        f'{GROUND} (all others).')


def kinds(judged: Judged, objects: Sequence[dict]) -> list[str | None]:
    """The kind of each wrong box of one image.

    Args:
        judged: the boxes.
        objects: the annotations that they were judged by.

    Returns:
        list: one of :data:`KINDS` for each box; None for one that is right.
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
        own: which of these are of its class.
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
    """What a detector found and did wrong in all images.

    Args:
        judged: its detections by the ids of the images.
        objects: the annotations that they were judged by.
        score: of the detections that were judged.

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
