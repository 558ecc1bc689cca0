"""AP on resampled test images, against pycocotools."""
import copy
import io
from contextlib import redirect_stdout

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from crosskd.apps.compare import resampling

pytestmark = pytest.mark.torch_only
CATEGORIES = [3, 7, 9]  # nothing of the last is annotated


def annotated(images=8, seed=0):
    """Annotations and detections that are mostly near them."""
    rng = np.random.default_rng(seed)
    objects, boxes = [], []
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = rng.uniform((0, 0, 10, 10), (60, 60, 40, 40))
            label = int(rng.choice(CATEGORIES[:2]))
            objects.append(dict(
                id=len(objects) + 1, image_id=image, category_id=label,
                bbox=[x, y, w, h], area=w * h,
                iscrowd=int(rng.random() < 0.2)))
            for _ in range(rng.integers(0, 4)):
                shift = rng.normal(0, 3, 4)
                boxes.append(dict(
                    image_id=image, bbox=(np.array([x, y, w, h])
                                          + shift).tolist(),
                    category_id=int(rng.choice([label, 3, 7, 9],
                                               p=[0.7, 0.1, 0.1, 0.1])),
                    score=round(float(rng.random()), 1)))  # some are equal
    return dict(images=[dict(id=i, width=100, height=100)
                        for i in range(1, images + 1)],
                categories=[dict(id=c, name=str(c)) for c in CATEGORIES],
                annotations=objects), boxes


def by_coco(content, boxes):
    """AP in percent as pycocotools computes it."""
    with redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(copy.deepcopy(boxes)), 'bbox')
        run.evaluate()
        run.accumulate()
        run.summarize()
    return 100 * run.stats[0]


def drawn(content, boxes, counts):
    """The data set in which each image is as often as it was drawn."""
    result, found = dict(content, images=[], annotations=[]), []
    for image, count in zip(content['images'], counts):
        for _ in range(count):
            number = len(result['images']) + 1
            result['images'].append(dict(image, id=number))
            for box in content['annotations']:
                if box['image_id'] == image['id']:
                    result['annotations'].append(dict(
                        box, image_id=number,
                        id=len(result['annotations']) + 1))
            found += [dict(box, image_id=number) for box in boxes
                      if box['image_id'] == image['id']]
    return result, found


@pytest.mark.parametrize('seed', range(4))
def test_ap_is_that_of_pycocotools(seed):
    content, boxes = annotated(seed=seed)
    before = copy.deepcopy(content)
    matches = resampling.match(content, boxes, CATEGORIES)
    assert content == before
    weights = np.concatenate([np.ones((1, 8), int),
                              resampling.draws(8, resamples=5)])
    found = resampling.average_precision(matches, weights)
    assert 10 < found[0] < 90
    assert found[0] == pytest.approx(by_coco(content, boxes), abs=1e-9)
    assert len(set(found.round(3))) > 3


def test_a_resample_is_a_data_set_with_images_more_than_once():
    content, boxes = annotated()
    for at, box in enumerate(boxes):  # or the order of equal ones decides
        box['score'] = (at + 1) / (len(boxes) + 1)
    matches = resampling.match(content, boxes, CATEGORIES)
    weights = resampling.draws(8, resamples=6, seed=1)
    assert (weights.sum(1) == 8).all() and weights.max() > 1
    expected = [by_coco(*drawn(content, boxes, row)) for row in weights]
    found = resampling.average_precision(matches, weights)
    assert found == pytest.approx(expected, abs=1e-9)


def test_large_sets_are_computed_in_blocks(monkeypatch):
    content, boxes = annotated()
    matches = resampling.match(content, boxes, CATEGORIES)
    weights = resampling.draws(8, resamples=20)
    whole = resampling.average_precision(matches, weights)
    monkeypatch.setattr(resampling, 'BLOCK', 3 * len(matches[0].images))
    assert (resampling.average_precision(matches, weights) == whole).all()


def test_without_detections_or_objects():
    content, boxes = annotated()
    weights = resampling.draws(8, resamples=3)
    nothing = resampling.match(content, [], CATEGORIES)
    assert (resampling.average_precision(nothing, weights) == 0).all()
    content['annotations'] = []
    empty = resampling.match(content, boxes, CATEGORIES)
    gains = resampling.average_precision(empty, weights)
    assert np.isnan(gains).all() and resampling.interval(gains) is None


def test_the_interval_has_95_percent_of_the_gains():
    gains = np.append(np.arange(1001) / 10, np.nan)
    assert resampling.interval(gains) == (2.5, 97.5)
    assert (resampling.draws(9) == resampling.draws(9)).all()
