"""How much AP would change if other test images had been drawn.

The paired bootstrap (Efron and Tibshirani, *An Introduction to the
Bootstrap*, 1993): the test images are resampled with replacement, and all
detectors are evaluated on the same sample.  Each image is matched only once.
"""
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

RESAMPLES = 1000
SEED = 0
COVERAGE = 95  # percent
# COCO's AP uses the best 100 detections of a class in an image
MOST = 100
# numbers in memory at once
BLOCK = 4_000_000


@dataclass(frozen=True)
class ClassMatches:
    """How the detections of one class match the objects in all images.

    Attributes:
        images: (n,) index of the image of each detection, best first.
        right: (thresholds, n) whether it found an object.
        ignored: (thresholds, n) whether it counts as neither right nor wrong.
        objects: (images,) number of objects of the class in each image.
    """
    images: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


def match(content: dict[str, Any], boxes: Sequence[dict],
          categories: Sequence[Any]) -> list[ClassMatches]:
    """Match the detections of every image once, as COCO's evaluation does.

    Args:
        content: annotations in COCO format.
        boxes: detections in COCO format.
        categories: ids of the classes to evaluate.

    Returns:
        list: one for each category.
    """
    with redirect_stdout(io.StringIO()):  # pycocotools reports its progress
        truth = COCO()
        # COCOeval writes into the annotations that it is given
        truth.dataset = dict(content, annotations=[
            dict(one) for one in content['annotations']])
        truth.createIndex()
        # loadRes needs at least one detection
        found = truth.loadRes([dict(b) for b in boxes]) if boxes else COCO()
        run = COCOeval(truth, found, 'bbox')
        run.params.imgIds = sorted(truth.imgs)
        run.params.catIds = list(categories)
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ['all']
        run.params.maxDets = [MOST]
        run.evaluate()
    count = len(run.params.imgIds)
    return [_of_class(run.evalImgs[at * count:(at + 1) * count],
                      len(run.params.iouThrs))
            for at in range(len(categories))]


def _of_class(images: Sequence[dict | None], thresholds: int) -> ClassMatches:
    scores: list[np.ndarray] = [np.zeros(0)]
    places: list[np.ndarray] = [np.zeros(0, int)]
    right: list[np.ndarray] = [np.zeros((thresholds, 0), bool)]
    ignored: list[np.ndarray] = [np.zeros((thresholds, 0), bool)]
    objects = np.zeros(len(images), int)
    for place, one in enumerate(images):
        if one is None:  # neither objects nor detections
            continue
        scores.append(np.array(one['dtScores'], float))
        places.append(np.full(len(one['dtScores']), place))
        right.append(one['dtMatches'] > 0)
        ignored.append(one['dtIgnore'].astype(bool))
        objects[place] = np.count_nonzero(one['gtIgnore'] == 0)
    # mergesort as COCO's evaluation, so that equal scores keep their order
    order = np.argsort(-np.concatenate(scores), kind='mergesort')
    neither = np.concatenate(ignored, 1)[:, order]
    return ClassMatches(np.concatenate(places)[order],
                        np.concatenate(right, 1)[:, order] & ~neither,
                        neither, objects)


def average_precision(matches: Sequence[ClassMatches],
                      weights: np.ndarray) -> np.ndarray:
    """COCO's AP with each image counted as often as its weight.

    Args:
        matches: the matches of every class.
        weights: (samples, images) non-negative integers.

    Returns:
        np.ndarray: (samples, ) AP in percent; NaN without an object.
    """
    every = np.stack([_class_ap(one, weights) for one in matches])
    known = ~np.isnan(every)
    sums = np.where(known, every, 0).sum(0)
    counts = known.sum(0)
    return 100 * np.divide(sums, counts, out=np.full(len(sums), np.nan),
                           where=counts > 0)


def _class_ap(one: ClassMatches, weights: np.ndarray) -> np.ndarray:
    rows = max(BLOCK // max(len(one.images), 1), 1)
    return np.concatenate([_block_ap(one, weights[at:at + rows])
                           for at in range(0, len(weights), rows)])


def _block_ap(one: ClassMatches, weights: np.ndarray) -> np.ndarray:
    objects = weights @ one.objects
    counts = weights[:, one.images]
    seen = counts.cumsum(1)
    total = np.zeros(len(weights))
    for right, ignored in zip(one.right, one.ignored):
        # precision only falls between right detections, so these are enough
        at = np.flatnonzero(right)
        wrong_or_right = seen[:, at]
        if ignored.any():
            wrong_or_right = wrong_or_right - np.where(
                ignored, counts, 0).cumsum(1)[:, at]
        found = counts[:, at].cumsum(1)
        precision = found / (wrong_or_right + np.spacing(1))
        recall = found / np.maximum(objects, 1)[:, None]
        total += _area(precision, recall)
    return np.where(objects > 0, total / len(one.right), np.nan)


def _area(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """The mean of 101 interpolated precisions, (samples, ).

    Args:
        precision, recall: (samples, k) after each right detection.
    """
    points = np.linspace(0, 1, 101)
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    reached = np.searchsorted(points, recall, 'right')
    new = np.diff(reached, axis=1, prepend=0)
    return (best * new).sum(1) / len(points)


def draws(images: int, resamples: int = RESAMPLES,
          seed: int = SEED) -> np.ndarray:
    """How often each image was drawn, (resamples, images)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, [1 / images] * images, resamples)


def interval(gains: np.ndarray) -> tuple[float, float] | None:
    """The range that contains :data:`COVERAGE` percent of the gains.

    Args:
        gains: (resamples, ) gains of a detector; NaN without an object.
    """
    known = gains[~np.isnan(gains)]
    if not len(known):
        return None
    tail = (100 - COVERAGE) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return round(float(low), 1), round(float(high), 1)
