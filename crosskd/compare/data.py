"""The test set that detectors are compared on."""
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..engine.data_checks.messages import ann_file_of
from .work_dirs import WorkDir


@dataclass(frozen=True)
class TestSet:
    """COCO annotations, and the classes that are detected in them.

    Attributes:
        ann_file: the annotations.
        classes: names of those detected.
        digest: of the file's content.
    """
    ann_file: Path
    classes: tuple[str, ...]
    digest: str = field(repr=False)

    @cached_property
    def _content(self) -> dict[str, Any]:
        return json.loads(self.ann_file.read_text(encoding='utf-8'))

    @property
    def categories(self) -> list[str]:
        """Names of all categories of the file."""
        return [c['name'] for c in self._content['categories']]

    @cached_property
    def names(self) -> dict[Any, str]:
        """Names of the classes by their ids in the file."""
        return {c['id']: c['name'] for c in self._content['categories']
                if c['name'] in self.classes}

    @cached_property
    def sizes(self) -> dict[Any, tuple[int, int]]:
        """Width and height of every image by its id, in the file's order."""
        return {i['id']: (i['width'], i['height'])
                for i in self._content['images']}

    @cached_property
    def boxes(self) -> dict[Any, list[dict]]:
        """The annotations of the classes, by the ids of their images."""
        found: dict[Any, list[dict]] = {number: [] for number in self.sizes}
        for box in self._content['annotations']:
            if (box['category_id'] in self.names
                    and box['image_id'] in found and not box.get('ignore')):
                found[box['image_id']].append(box)
        return found


def read_test_sets(work_dirs: Sequence[WorkDir]) -> TestSet:
    """The test set that all work directories share.

    Raises:
        FileNotFoundError: its annotations are missing.
        ValueError: it is not of COCO's form, has no annotations, or is
            another one in some work directories.
    """
    first = _read(work_dirs[0])
    gone = [c for c in first.classes if c not in first.names.values()]
    if gone:
        raise ValueError(
            f'{work_dirs[0].folder}: {first.ann_file} has no '
            f'{", ".join(map(repr, gone))}; expected the classes of its '
            'config among the categories, which are '
            f'{", ".join(map(repr, first.categories))}')
    for work_dir in work_dirs[1:]:
        found = _read(work_dir)
        if found.digest != first.digest:
            raise ValueError(
                f'{work_dirs[0].folder} and {work_dir.folder} have different '
                f'test sets: {first.ann_file} and {found.ann_file}; an AP on '
                'the one says nothing about the other')
        if set(found.classes) != set(first.classes):
            raise ValueError(
                f'{work_dirs[0].folder} and {work_dir.folder} detect '
                f'different classes in {first.ann_file}: '
                f'{_only(first, found)} in the first alone, '
                f'{_only(found, first)} in the second')
    return first


def evaluator_of(cfg: Config) -> dict[str, Any]:
    """The COCO metric among the evaluators of a config, or nothing."""
    evaluators = cfg.test_evaluator
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    for evaluator in evaluators:
        if 'CocoMetric' in str(evaluator.get('type')):
            return evaluator
    return {}


def _read(work_dir: WorkDir) -> TestSet:
    cfg, evaluator = work_dir.cfg, evaluator_of(work_dir.cfg)
    dataset = cfg.test_dataloader.get('dataset', {})
    file = evaluator.get('ann_file') or ann_file_of(dataset)
    if not evaluator or not file:
        kind = 'ann_file' if evaluator else 'CocoMetric'
        raise ValueError(f'{work_dir.folder}: no {kind} in the test_evaluator '
                         'of its config; expected a test set of COCO '
                         'annotations')
    if evaluator.get('format_only'):
        raise ValueError(f'{work_dir.folder}: its test_evaluator is '
                         'format_only; expected a test set with annotations')
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(
            f'{work_dir.folder}: its test_evaluator.ann_file={file!r} is not '
            f'there (looked from {Path.cwd()}); run this where it was '
            'trained')
    content = path.read_bytes()
    classes = dataset.get('metainfo', {}).get('classes') or [
        c['name'] for c in json.loads(content)['categories']]
    return TestSet(path, tuple(classes), hashlib.sha256(content).hexdigest())


def _only(one: TestSet, other: TestSet) -> str:
    names = [c for c in one.classes if c not in other.classes]
    return ', '.join(map(repr, names)) or 'none'
