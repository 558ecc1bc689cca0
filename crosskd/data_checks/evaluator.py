"""Comparing the evaluator's annotations with the validation data."""
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from mmdet.evaluation import CocoMetric
from mmengine.registry import METRICS

from ..arguments import few, missing
from ..errors import ConfigTypeError, ConfigValueError
from ..registry import resolve
from .coco_file import CocoFile, look_through, read_json
from .content import Content
from .messages import is_local, warn


def metrics(key: str, evaluator: Any) -> Iterator[tuple[str, Any]]:
    """Yield keys and configs (or built metrics) in an evaluator's config."""
    inner = (evaluator.get('metrics') if isinstance(evaluator, dict) else
             getattr(evaluator, 'metrics', None))
    if inner is not None and not isinstance(inner, str):
        several = inner if isinstance(inner, (list, tuple)) else [inner]
        key = f'{key}.metrics'
    elif isinstance(evaluator, (list, tuple)):
        several = evaluator
    else:
        if evaluator is not None:
            yield key, evaluator
        return
    for index, one in enumerate(several):
        yield f'{key}[{index}]', one


def check_evaluator(key: str, evaluator: Any, every: list[Content],
                    paths: list[str], files: dict[str, CocoFile],
                    classes: tuple, packed: set[str]) -> None:
    """Compare the files of an evaluator with the data that it evaluates.

    Args:
        key: of the evaluator in the config.
        evaluator: config of the evaluator.
        every: the content of each part of the validation data.
        paths: the annotation files of the parts.
        files: the COCO annotation files, by the keys of the parts.
        classes: names of the classes of the data.
        packed: ``meta_keys`` of the pipeline, the metadata that it keeps for
            an image.

    Raises:
        FileNotFoundError: the evaluator's ``ann_file`` does not exist.
        TypeError: ``ann_file`` is not a path.
        ValueError: ``ann_file`` has other images or classes than the data.
    """
    several = list(metrics(key, evaluator))
    for at, cfg in several:
        if not isinstance(cfg, dict):
            continue
        path = cfg.get('ann_file')
        kind = resolve(METRICS, cfg.get('type'), cfg.get('_scope_'))
        if path is None:
            # it collects ground truth itself if every sample has it
            if (getattr(kind, 'process', None) is CocoMetric.process
                    and 'instances' not in packed
                    and not cfg.get('format_only')):
                raise ConfigValueError(
                    f'{at}.ann_file is missing; expected the annotations of '
                    f'validation data, {few(paths)}')
            continue
        if not getattr(kind, '__module__', '').startswith('mmdet.') and not (
                isinstance(kind, type) and issubclass(kind, CocoMetric)):
            continue  # another metric may write or find it elsewhere
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigTypeError(f'{at}.ann_file={path!r}: expected a path')
        path = os.fspath(path)
        if not is_local(path, cfg.get('backend_args')):
            continue
        if not os.path.isfile(path):
            raise missing(
                f'{at}.ann_file', path, 'the annotations of '
                f'validation data, {few(paths)}')
        same = [p for p in paths if os.path.exists(p)
                and os.path.samefile(p, path)]
        known = [f for f in files.values() if f.path in same]
        # others read the file differently, or evaluate one part of the data
        own = getattr(kind, 'compute_metrics', None)
        if own is not CocoMetric.compute_metrics or (
                len(several) > 1 and len(every) > 1) or (same and not known):
            continue
        file = known[0] if known else look_through(
            f'{at}.ann_file', path, read_json(f'{at}.ann_file', path), classes)
        found = f'{at}.ann_file={path!r}'
        if not cfg.get('sort_categories'):
            _check_categories(found, file, classes)
        _check_images(found, file, every, bool(same))
        if not same:
            _compare_boxes(found, file, every, files)


def _check_categories(found: str, file: CocoFile, classes: tuple) -> None:
    names = tuple(n for n in file.names if n in classes)
    if names != classes:
        raise ConfigValueError(
            f'{found} has the categories {few(file.names)}; expected those of '
            f'val_dataloader.dataset, {few(classes)}')


def _check_images(found: str, file: CocoFile, every: list[Content],
                  same: bool) -> None:
    if file.evaluable is not None:
        raise ConfigValueError(
            f'{found}: {file.evaluable}, which the evaluation '
            'needs')
    seen = set()
    for kept in every:
        for number, path in kept.paths:
            name = file.files.get(number)
            if name is None or _stem(name) != _stem(path):
                raise ConfigValueError(
                    f'{found} has '
                    f'{"no image" if name is None else f"the image {name!r}"} '
                    f'under the id {number!r}, but {kept.key} has {path!r}; '
                    'expected the annotations of the validation data')
            seen.add(number)
    over = [number for number in file.files if number not in seen]
    boxes = sum(file.boxes.get(number, 0) for number in over)
    if not boxes:
        return
    message = (f'{found} has {len(over)} images, with {boxes} boxes, that '
               'val_dataloader.dataset does not have')
    if not same:
        raise ConfigValueError(
            f'{message}; all of them would count as missed. '
            'Expected the annotations of the validation data')
    warn(f'{message}; all of them count as missed')


def _compare_boxes(found: str, file: CocoFile, every: list[Content],
                   files: dict[str, CocoFile]) -> None:
    """Warn if the boxes differ: ids and names may be equal by chance."""
    images = {number: boxes for kept in every if kept.key in files
              for number, boxes in files[kept.key].boxes.items()}
    differing = [n for n, boxes in images.items()
                 if file.boxes.get(n, 0) != boxes]
    if len(differing) > len(images) / 2:
        warn(f'{found} and val_dataloader.dataset have different numbers of '
             f'boxes for {len(differing)} of {len(images)} images; are they '
             'annotations of the same images?')


def _stem(path: Any) -> str:
    return PurePosixPath(str(path).replace('\\', '/')).stem
