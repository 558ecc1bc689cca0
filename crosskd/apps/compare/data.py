"""The test set on which detectors are compared."""
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmengine import fileio
from mmengine.config import Config
from mmengine.registry import METRICS, DefaultScope

from ...data_checks import built_classes
from ...data_checks.build import build
from ...data_checks.evaluator import metrics
from ...data_checks.leaves import leaves
from ...errors import ConfigFileNotFoundError, ConfigValueError
from ...registry import resolve
from ..visualization.pixels import as_picture
from .images import Place, places, read_pixels
from .work_dirs import WorkDir


@dataclass(frozen=True)
class TestSet:
    """COCO annotations, the detected classes, and images.

    Attributes:
        source: the annotation file, or several.
        content: the content of such a file.
        classes: names of the detected classes.
        digest: a hash of the content.
        numbered: whether the ids of images are their indices in the data set;
            else they are those of the file.
        images: the images of the data set, by id.
    """
    source: str
    content: dict[str, Any] = field(repr=False)
    classes: tuple[str, ...]
    digest: str = field(repr=False)
    numbered: bool
    images: dict[Any, Place] = field(repr=False)

    @property
    def categories(self) -> list[str]:
        """Names of all categories of the file."""
        return [c['name'] for c in self.content['categories']]

    @cached_property
    def names(self) -> dict[Any, str]:
        """Names of the classes by their ids in the file."""
        return {c['id']: c['name'] for c in self.content['categories']
                if c['name'] in self.classes}

    @cached_property
    def sizes(self) -> dict[Any, tuple[int, int]]:
        """Width and height of every image by its id, in the file's order."""
        return {i['id']: (i['width'], i['height'])
                for i in self.content['images']}

    @cached_property
    def boxes(self) -> dict[Any, list[dict]]:
        """The annotations of the classes, by the ids of their images."""
        found: dict[Any, list[dict]] = {number: [] for number in self.sizes}
        for box in self.content['annotations']:
            if (box['category_id'] in self.names
                    and box['image_id'] in found and not box.get('ignore')):
                found[box['image_id']].append(box)
        return found

    def path(self, number: Any) -> Path:
        """The file of an image."""
        return Path(self.images[number].info()['img_path'])

    def picture(self, number: Any) -> np.ndarray:
        """An image as its pipeline reads it, (h, w, 3), uint8, BGR."""
        return as_picture(read_pixels(self.images[number]))


def read_test_sets(work_dirs: Sequence[WorkDir]) -> TestSet:
    """The test set that all work directories share.

    Raises:
        FileNotFoundError: its annotations are missing.
        ValueError: it cannot be built, is not in COCO format, has no
            annotations, or differs between work directories.
    """
    first = _read(work_dirs[0])
    gone = [c for c in first.classes if c not in first.names.values()]
    if gone:
        raise ConfigValueError(
            f'{work_dirs[0].folder}: {first.source} has no '
            f'{", ".join(map(repr, gone))}; expected the classes of the '
            'config among its categories, which are '
            f'{", ".join(map(repr, first.categories))}')
    for work_dir in work_dirs[1:]:
        found = _read(work_dir)
        if found.digest != first.digest:
            raise ConfigValueError(
                f'{work_dirs[0].folder} and {work_dir.folder} have different '
                f'test sets: {first.source} and {found.source}. Their APs '
                'cannot be compared')
        if set(found.classes) != set(first.classes):
            raise ConfigValueError(
                f'{work_dirs[0].folder} and {work_dir.folder} detect '
                f'different classes in {first.source}: '
                f'{_only(first, found)} only in the first, '
                f'{_only(found, first)} only in the second')
    return first


def coco_metrics(cfg: Config) -> list[dict[str, Any]]:
    """The COCO metrics among the evaluators of a config."""
    found = []
    for _, metric in metrics('test_evaluator', cfg.test_evaluator):
        kind = resolve(METRICS, metric.get('type'), metric.get('_scope_'))
        if isinstance(kind, type) and issubclass(kind, CocoMetric) and (
                'CocoMetric' in kind.__name__
                or vars(kind).get('compute_metrics') is None):
            found.append(metric)
    return found


def scope_of(cfg: Config) -> str | None:
    """The registry scope that a Runner builds a config in."""
    return cfg.get('default_scope', 'mmengine')


def _read(work_dir: WorkDir) -> TestSet:
    folder, cfg = work_dir.folder, work_dir.cfg
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        evaluators = coco_metrics(cfg)
        if not evaluators:
            raise ConfigValueError(
                f'{folder}: no CocoMetric in the test_evaluator of its '
                'config; expected a test set of COCO annotations')
        if any(e.get('format_only') for e in evaluators):
            raise ConfigValueError(
                f'{folder}: its test_evaluator is format_only; expected a '
                'test set with annotations')
        files = {str(e.get('ann_file') or '') for e in evaluators}
        found = None
        if len(files) == 1 and '' not in files:
            found = _of_file(folder, evaluators[0])
        dataset = _build(folder, cfg)
    every = built_classes(dataset)
    if not every or any(classes != every[0] for classes in every):
        raise ConfigValueError(
            f'{folder}: expected one list of classes for all of '
            f'test_dataloader.dataset, found {every or None}')
    images = list(places(dataset))
    if found is None:  # as mmdet does if its metric has no file
        source, content = _of_images(images, every[0])
        ids: list = list(range(len(images)))
        data = json.dumps([content[key] for key in sorted(content)
                           if key != 'info']).encode()
    else:
        source, data = found
        content = _loaded(source, data)
        ids = [place.info()['img_id'] for place in images]
        if not {i['id'] for i in content['images']} & {*ids}:
            raise ConfigValueError(
                f'{folder}: test_evaluator.ann_file={source!r} has none of '
                f'the {len(ids)} images of test_dataloader.dataset')
    return TestSet(source, content, every[0],
                   hashlib.sha256(data).hexdigest(), found is None,
                   dict(zip(ids, images)))


def _of_file(folder: Path, evaluator: dict) -> tuple[str, bytes]:
    """Name and content of a metric's file, local or remote."""
    file = os.fspath(evaluator['ann_file'])
    try:
        return file, fileio.get(file,
                                backend_args=evaluator.get('backend_args'))
    except FileNotFoundError:
        raise ConfigFileNotFoundError(
            f'{folder}: its test_evaluator.ann_file={file!r} does not exist '
            f'(looked from {Path.cwd()}); run this command in the directory '
            'where it was trained') from None


def _loaded(file: str, data: bytes) -> dict[str, Any]:
    try:
        return json.loads(data)
    except ValueError as e:
        raise ConfigValueError(f'{file}: this is not JSON: {e}') from None


def _of_images(images: Sequence[Place],
               classes: tuple) -> tuple[str, dict[str, Any]]:
    """COCO annotations made from a data set, and their files."""
    metric = CocoMetric()
    metric.dataset_meta = dict(classes=classes)
    truth = []
    for number, info in enumerate(place.info() for place in images):
        truth.append(dict(img_id=number, width=info['width'],
                          height=info['height'], anns=info['instances']))
    with tempfile.TemporaryDirectory() as scratch:
        file = metric.gt_to_coco_json(truth, str(Path(scratch, 'truth')))
        content = json.loads(Path(file).read_text())
    content.setdefault('annotations', [])
    files = dict.fromkeys(str(place.dataset.ann_file) for place in images)
    return ', '.join(files), content


def _build(folder: Path, cfg: Config) -> Any:
    """The test data set of a config, as mmengine builds it."""
    dataset = cfg.test_dataloader.get('dataset')
    key = 'test_dataloader.dataset'
    try:
        return build(dataset, list(leaves(key, dataset)), {})
    except Exception as e:  # a data set may raise anything
        kind = (ConfigFileNotFoundError if isinstance(
            e, FileNotFoundError) else ConfigValueError)
        raise kind(f'{folder}: its test data cannot be built: {e}') from None


def _only(one: TestSet, other: TestSet) -> str:
    names = [c for c in one.classes if c not in other.classes]
    return ', '.join(map(repr, names)) or 'none'
