"""Whether a data set can be trained on, asked before training begins."""
import difflib
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from torch import nn

from .teacher import Teacher

# COCO's own train2017 has two boxes without a height among 860 001
TOLERATED = 1e-3


def check_data(key: str, cfg: Any) -> None:
    """Look through the COCO annotations that a data set's config names.

    Wrapped data sets included; other formats are left alone.  One rank looks:
    where it fails, the others end with it.

    Args:
        key: of the data loader, for messages.
        cfg: config of the data set.

    Raises:
        FileNotFoundError: no such annotation file or folder of images.
        ValueError: it is no COCO annotation file, holds no categories or no
            boxes of the data set's classes, or boxes of no size or outside
            their images; or the classes are others than its categories.
    """
    if not is_main_process():
        return
    for file, folder, classes in _annotation_files(cfg):
        content = _read(f'{key}.dataset.ann_file={str(file)!r}', file, folder)
        if classes is not None:
            _check_names(f'{key}.dataset', classes, content)


def check_classes(key: str, dataset: Any, model: nn.Module,
                  teacher: Teacher | None) -> None:
    """Compare the classes of a built data set, a student and its teacher.

    Args:
        key: of the data loader, for messages.
        dataset: the data set.
        model: the detector.
        teacher: its teacher, if any.

    Raises:
        ValueError: they differ.
    """
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes is None:
        return
    predicted = getattr(getattr(model, 'bbox_head', None), 'num_classes', None)
    if predicted is not None and predicted != len(classes):
        raise ValueError(
            f'model.bbox_head.num_classes={predicted}: {key}.dataset has '
            f'{len(classes)} classes ({_few(classes)}); they must be equal')
    learned = teacher.classes if teacher is not None else None
    if learned is not None and learned != tuple(classes):
        raise ValueError(
            f'model.teacher_ckpt: the teacher was trained on the classes '
            f'{_few(learned)}, {key}.dataset.metainfo.classes has '
            f'{_few(classes)}; expected the same names in the same order')


def _annotation_files(cfg: Any) -> Iterator[tuple[Path, Path, tuple | None]]:
    """Local COCO files of a config, the images' folders and the classes."""
    if not isinstance(cfg, dict):
        return
    inner = cfg.get('datasets', cfg.get('dataset'))
    if inner is not None:
        for one in inner if isinstance(inner, (list, tuple)) else [inner]:
            yield from _annotation_files(one)
        return
    name = cfg.get('type')
    kind: Any = DATASETS.get(name) if isinstance(name, str) else name
    remote = cfg.get('backend_args') is not None
    # subclasses that read their files in a way of their own know them better
    coco = getattr(kind, 'load_data_list', None) is CocoDataset.load_data_list
    if remote or not coco or not cfg.get('ann_file'):
        return
    root = Path(cfg.get('data_root') or '')
    prefix = (cfg.get('data_prefix') or {}).get('img') or ''
    metainfo = cfg.get('metainfo')
    names = {
        **kind.METAINFO,
        **(metainfo if isinstance(metainfo, dict) else {})
    }.get('classes')
    yield (root / cfg['ann_file'], root / prefix,
           tuple(names) if isinstance(names, (list, tuple)) else None)


def _read(found: str, file: Path, folder: Path) -> dict:
    if not file.is_file():
        raise FileNotFoundError(
            f'{found}: no such file (looked from {Path.cwd()}); expected COCO '
            'annotations')
    try:
        content = json.loads(file.read_bytes())
    except ValueError as e:
        raise ValueError(f'{found}: no JSON, or truncated ({e})') from None
    for part in ('images', 'annotations', 'categories'):
        value = content.get(part) if isinstance(content, dict) else None
        if not isinstance(value, list) or not value:
            raise ValueError(
                f'{found}: expected COCO annotations with {part}, found '
                f'{"none" if not value else type(value).__name__}')
    _check_images(found, content['images'], folder)
    _check_boxes(found, content)
    return content


def _check_images(found: str, images: list, folder: Path) -> None:
    for image in images:
        for part in ('id', 'file_name', 'width', 'height'):
            if part not in image:
                raise ValueError(f"{found}: an image without '{part}': "
                                 f'{image}')
    first = folder / images[0]['file_name']
    if not first.is_file():  # one tells of a wrong folder, and costs nothing
        raise FileNotFoundError(
            f'{found}: its first image is not at {str(first)!r}; expected '
            'images in data_root + data_prefix.img')


def _check_boxes(found: str, content: dict) -> None:
    sizes = {
        image['id']: (image['width'], image['height'])
        for image in content['images']
    }
    bad = []
    for box in content['annotations']:
        problem = _problem(box, sizes)
        if problem:
            bad.append(f"annotation {box.get('id')} of image "
                       f"{box.get('image_id')}: {box.get('bbox')} {problem}")
    if not bad:
        return
    total = len(content['annotations'])
    message = (f'{found}: {len(bad)} of {total} boxes cannot be used: '
               f'{"; ".join(bad[:3])}{"; …" if bad[3:] else ""}')
    if len(bad) > TOLERATED * total:
        raise ValueError(
            f'{message}. Expected [x, y, width, height] in pixels, of a size '
            'above 0 and inside the image')
    print_log(f'{message}; they are left out', 'current', logging.WARNING)


def _problem(annotation: dict, sizes: dict) -> str | None:
    if annotation.get('image_id') not in sizes:
        return 'is of no image'
    box = annotation.get('bbox')
    if not (isinstance(box, list) and len(box) == 4 and all(
            isinstance(v, (int, float)) and math.isfinite(v) for v in box)):
        return 'is no box'
    x, y, w, h = box
    width, height = sizes[annotation['image_id']]
    if w <= 0 or h <= 0:
        return 'has no size'
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return f'is outside the image of {width}×{height}'
    return None


def _check_names(found: str, classes: tuple, content: dict) -> None:
    names = [c.get('name') for c in content['categories']]
    for name in classes:
        if name not in names:
            near = difflib.get_close_matches(str(name), map(str, names), 1)
            hint = f'; did you mean {near[0]!r}?' if near else ''
            raise ValueError(
                f'{found}.metainfo.classes: {name!r} is no category of '
                f'ann_file, which has {_few(names)}{hint}')
    # mmdet numbers the classes as the file does, whatever order they are in
    ordered = tuple(n for n in names if n in classes)
    if ordered != classes:
        raise ValueError(
            f'{found}.metainfo.classes: expected the order of the '
            f'categories in ann_file, {_few(ordered)}, found {_few(classes)}')
    ids = {c['id'] for c in content['categories'] if c.get('name') in classes}
    if not any(a.get('category_id') in ids for a in content['annotations']):
        raise ValueError(f'{found}.ann_file: no image has a box of the '
                         f'classes {_few(classes)}')


def _few(names: Any, few: int = 6) -> str:
    shown = ', '.join(map(repr, names[:few]))
    return f'{shown}, … ({len(names)} in all)' if len(names) > few else shown
