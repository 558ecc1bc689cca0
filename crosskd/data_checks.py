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

from .heads import family_of

# large published data sets have a few such boxes, and mmdet trains on them
TOLERATED = 1e-3
# what mmdet reads of each entry of a COCO file
NEEDED = dict(
    images=('id', 'file_name', 'width', 'height'),
    categories=('id', 'name'),
    annotations=('id', 'image_id', 'category_id', 'bbox', 'area'))


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
    usable, files = 0, []
    for dataset in _coco_datasets(cfg):
        file = Path(dataset.get('data_root') or '') / dataset['ann_file']
        found = f'{key}.dataset.ann_file={str(file)!r}'
        content = _read(found, file)
        classes = _classes(dataset)
        if classes is not None:
            _check_names(f'{key}.dataset', classes, content)
        boxes = _boxes_of(classes, content)
        _check_boxes(found, boxes, content)
        _check_images(found, boxes, content, dataset)
        usable += len(boxes)
        files.append(str(file))
    if files and not usable:
        raise ValueError(f'{key}.dataset.ann_file: no image has a box of the '
                         f'classes {_few(classes or ())} in '
                         f'{", ".join(files)}')


def check_classes(key: str, dataset: Any, model: nn.Module) -> None:
    """Compare the classes of a built data set, a student and its teacher.

    Args:
        key: of the data loader, for messages.
        dataset: the data set.
        model: the detector.

    Raises:
        ValueError: they differ.
    """
    metainfo = getattr(dataset, 'metainfo', None)
    # that of concatenated data sets which differ is a list
    for meta in metainfo if isinstance(metainfo, list) else [metainfo]:
        classes = (meta or {}).get('classes')
        if classes is not None:
            _compare_classes(key, tuple(classes), model)


def _compare_classes(key: str, classes: tuple, model: nn.Module) -> None:
    try:
        head = family_of(getattr(model, 'bbox_head', None)).head
    except TypeError:  # other heads know what their num_classes means
        return
    if head.num_classes != len(classes):
        raise ValueError(
            f'model.bbox_head.num_classes={head.num_classes}: {key}.dataset '
            f'has {len(classes)} classes ({_few(classes)}); they must be '
            'equal')
    teacher = getattr(model, 'teacher', None)
    learned = getattr(teacher, 'classes', None)
    if learned is not None and _plain(learned) != _plain(classes):
        raise ValueError(
            f'model.teacher_ckpt: the teacher was trained on the classes '
            f'{_few(learned)}, {key}.dataset.metainfo.classes has '
            f'{_few(classes)}; expected the same names in the same order '
            '(a checkpoint saved without its meta is not compared)')


def _plain(names: Any) -> list[str]:
    """Names without the spellings that changed between mmdet's versions."""
    return [str(n).lower().replace('_', ' ') for n in names]


def _coco_datasets(cfg: Any) -> Iterator[dict]:
    """Configs of the data sets inside that mmdet reads as COCO from disk."""
    if not isinstance(cfg, dict):
        return
    inner = cfg.get('datasets', cfg.get('dataset'))
    if inner is not None:
        for one in inner if isinstance(inner, (list, tuple)) else [inner]:
            yield from _coco_datasets(one)
        return
    kind = _kind(cfg)
    # subclasses that read their files in a way of their own know them better
    coco = getattr(kind, 'load_data_list', None) is CocoDataset.load_data_list
    remote = cfg.get('backend_args') is not None
    if coco and not remote and cfg.get('ann_file'):
        yield cfg


def _kind(cfg: dict) -> Any:
    name = cfg.get('type')
    return DATASETS.get(name) if isinstance(name, str) else name


def _classes(cfg: dict) -> tuple | None:
    metainfo = cfg.get('metainfo')
    own = metainfo if isinstance(metainfo, dict) else {}
    names = {**_kind(cfg).METAINFO, **own}.get('classes')
    return tuple(names) if isinstance(names, (list, tuple)) else None


def _read(found: str, file: Path) -> dict:
    if not file.is_file():
        raise FileNotFoundError(
            f'{found}: no such file (looked from {Path.cwd()}); expected COCO '
            'annotations')
    try:
        content = json.loads(file.read_bytes())
    except ValueError as e:
        raise ValueError(f'{found}: no JSON, or truncated ({e})') from None
    for part, needed in NEEDED.items():
        value = content.get(part, []) if isinstance(content, dict) else None
        # a part of the data may be without boxes
        if not isinstance(value, list) or not (value or part == 'annotations'):
            raise ValueError(
                f'{found}: expected COCO annotations with {part}, found '
                f'{"none" if not value else type(value).__name__}')
        for one in value:
            missing = [k for k in needed
                       if not isinstance(one, dict) or k not in one]
            if missing:
                raise ValueError(f"{found}: {part}: {one} has no "
                                 f"{', '.join(map(repr, missing))}")
    return content


def _check_names(found: str, classes: tuple, content: dict) -> None:
    names = [c['name'] for c in content['categories']]
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


def _boxes_of(classes: tuple | None, content: dict) -> list[dict]:
    """The annotations that mmdet reads; others may be as they like."""
    images = {image['id'] for image in content['images']}
    categories = {
        c['id'] for c in content['categories']
        if classes is None or c['name'] in classes
    }
    return [
        a for a in content.get('annotations', [])
        if a['category_id'] in categories and a['image_id'] in images
        and not a.get('ignore')
    ]


def _check_boxes(found: str, boxes: list[dict], content: dict) -> None:
    sizes = {
        image['id']: (image['width'], image['height'])
        for image in content['images']
    }
    bad = []
    for box in boxes:
        problem = _problem(box['bbox'], *sizes[box['image_id']])
        if problem:
            bad.append(f"annotation {box['id']} of image {box['image_id']}: "
                       f"{box['bbox']} {problem}")
    if not bad:
        return
    message = (f'{found}: {len(bad)} of {len(boxes)} boxes cannot be used: '
               f'{"; ".join(bad[:3])}{"; …" if bad[3:] else ""}')
    if len(bad) > TOLERATED * len(boxes):
        raise ValueError(
            f'{message}. Expected [x, y, width, height] in pixels, of a size '
            'above 0 and inside the image')
    print_log(f'{message}; they are left out', 'current', logging.WARNING)


def _problem(box: Any, width: float, height: float) -> str | None:
    if not (isinstance(box, list) and len(box) == 4 and all(
            isinstance(v, (int, float)) and math.isfinite(v) for v in box)):
        return 'is no box'
    x, y, w, h = box
    if w <= 0 or h <= 0:
        return 'has no size'
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return f'is outside the image of {width}×{height}'
    return None


def _check_images(found: str, boxes: list[dict], content: dict,
                  cfg: dict) -> None:
    """Look for one image, which tells of a wrong folder and costs nothing."""
    reader = next(iter(cfg.get('pipeline') or [{}]))
    prefix = (cfg.get('data_prefix') or {}).get('img') or ''
    local = (isinstance(reader, dict) and '://' not in str(prefix)
             and reader.get('type') == 'LoadImageFromFile'
             and reader.get('backend_args') is None)
    if not boxes or not local:
        return
    name = next(image['file_name'] for image in content['images']
                if image['id'] == boxes[0]['image_id'])
    path = Path(cfg.get('data_root') or '') / prefix / name
    if not path.is_file():
        raise FileNotFoundError(
            f'{found}: its first image is not at {str(path)!r}; expected '
            'images in data_root + data_prefix.img')


def _few(names: Any, few: int = 6) -> str:
    shown = ', '.join(map(repr, names[:few]))
    return f'{shown}, … ({len(names)} in all)' if len(names) > few else shown
