"""Reading a COCO annotation file, and finding errors in it."""
import gc
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..arguments import few, missing
from ..errors import ConfigValueError
from .messages import warn

# keys that pycocotools needs to load each entry
NEEDED = dict(
    images=('id', 'file_name', 'width', 'height'),
    categories=('id', 'name'),
    annotations=('id', 'image_id', 'category_id'))
# and those that it needs in each annotation to evaluate
EVALUATED = ('bbox', 'area', 'iscrowd')
IDS = dict(number=(int, float), string=(str, ))
UNDECLARED = 'with a category_id that is not in categories'


@dataclass
class CocoFile:
    """The content of a COCO annotation file, for some classes.

    Attributes:
        path: of the file.
        names: of the categories, in the file's order.
        sizes: (width, height) of every image by its id.
        files: name of every image's file by its id.
        boxes: how many boxes of the classes an image has, by its id.  Boxes
            marked ``iscrowd`` or ``ignore`` do not count; boxes whose category
            is not in the file do.
        bad: boxes that mmdet leaves out: by the reason, how many, and one of
            them.
        unlisted: how many annotations belong to images that are not in the
            file.
        over_border: how many boxes extend more than a pixel beyond their
            images.
        evaluable: None, or what pycocotools lacks to evaluate.
    """

    path: str
    names: list
    sizes: dict[Any, tuple] = field(default_factory=dict)
    files: dict[Any, str] = field(default_factory=dict)
    boxes: dict[Any, int] = field(default_factory=dict)
    bad: dict[str, tuple[int, str]] = field(default_factory=dict)
    unlisted: int = 0
    over_border: int = 0
    evaluable: str | None = None


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pause garbage collection, which would visit millions of entries."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_without_collection()
def read_json(key: str, path: str) -> dict:
    """Read a file as pycocotools does, and check its structure.

    Args:
        key: in the config, for messages.
        path: of a local file.

    Returns:
        dict: the content of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold COCO annotations as JSON.
    """
    found = f'{key}={path!r}'
    if not Path(path).is_file():
        raise missing(key, path, 'COCO annotations')
    try:
        with open(path) as file:
            content = json.load(file)
    except ValueError as e:
        if 'BOM' in str(e):
            raise ConfigValueError(
                f'{found}: begins with a byte order mark, which pycocotools '
                'cannot read; save it as UTF-8 without one') from None
        raise ConfigValueError(
            f'{found}: not JSON, or truncated, or not in UTF-8 '
            f'({e})') from None
    for part, needed in NEEDED.items():
        value = content.get(part, []) if isinstance(content, dict) else None
        # one of several data sets may have no boxes
        if not isinstance(value, list) or not (value or part == 'annotations'):
            raise ConfigValueError(
                f'{found}: expected COCO annotations with {part}, found '
                f'{type(value).__name__ if value else "none"}')
        every = set(needed)
        for index, one in enumerate(value):
            if not (isinstance(one, dict) and one.keys() >= every):
                gone = [k for k in needed
                        if not isinstance(one, dict) or k not in one]
                raise ConfigValueError(
                    f'{found}: {part}[{index}]: {one} has no '
                    f'{", ".join(map(repr, gone))}')
        _check_ids(found, part, 'id', value)
    return content


@_without_collection()
def look_through(key: str, path: str, content: dict,
                 classes: Sequence | None, unique: bool = True) -> CocoFile:
    """Collect images and boxes of a file, in one pass.

    Args:
        key: in the config, for messages.
        path: of the file.
        content: of the file.
        classes: names of the categories that are read; None for all.
        unique: whether annotations must have different ids.

    Returns:
        CocoFile: what the file has for these classes.

    Raises:
        ValueError: mmdet or pycocotools cannot read an entry.
    """
    found = f'{key}={path!r}'
    images, categories = content['images'], content['categories']
    annotations = content.get('annotations', [])
    parts = [('images', images), ('categories', categories)]
    for part, entries in [*parts, ('annotations', annotations)][:2 + unique]:
        _check_unique(found, part, entries)
    _check_ids(found, 'annotations', 'image_id', annotations, images)
    _check_ids(found, 'annotations', 'category_id', annotations, categories)
    file = CocoFile(path, [c['name'] for c in categories])
    for index, image in enumerate(images):
        for side in ('width', 'height'):
            if not (_is_number(image[side]) and image[side] > 0):
                raise ConfigValueError(
                    f'{found}: images[{index}].{side}={image[side]!r} (id '
                    f'{image["id"]!r}): expected a number of pixels above 0')
        if not isinstance(image['file_name'], str):
            raise ConfigValueError(
                f'{found}: images[{index}].file_name={image["file_name"]!r}: '
                'expected a string')
        file.sizes[image['id']] = image['width'], image['height']
        file.files[image['id']] = image['file_name']
    declared = {c['id'] for c in categories}
    _check_shifts(found, annotations, declared, set(file.sizes))
    read = {c['id'] for c in categories
            if classes is None or c['name'] in classes}
    for index, annotation in enumerate(annotations):
        image_id, category = annotation['image_id'], annotation['category_id']
        size = file.sizes.get(image_id)
        if size is None:
            file.unlisted += 1
            continue
        if category in read and _is_ordinary(annotation, *size):
            file.boxes[image_id] = file.boxes.get(image_id, 0) + 1
            continue
        if file.evaluable is None and category in read:
            file.evaluable = _not_evaluable(index, annotation)
        if annotation.get('ignore'):
            continue
        reason = _problem(found, index, annotation, *size)
        if category not in read:
            if category in declared:
                continue
            reason = UNDECLARED
        crowd = annotation.get('iscrowd')
        if crowd not in (None, 0, 1):
            raise ConfigValueError(
                f'{found}: annotations[{index}].iscrowd={crowd!r} (id '
                f'{annotation["id"]!r}): expected 0 or 1')
        if not crowd:
            file.over_border += _is_over_border(annotation['bbox'], *size)
            file.boxes[image_id] = file.boxes.get(image_id, 0) + 1
            if reason is not None:
                _note(file, reason, index, annotation)
    return file


def _is_ordinary(annotation: dict, width: float, height: float) -> bool:
    """Whether a box is clearly good, as nearly all are; others may be, too."""
    try:
        x, y, w, h = annotation['bbox']
        return (x >= 0 and y >= 0 and w >= 1 and h >= 1 and x + w <= width
                and y + h <= height and annotation['area'] > 0
                and annotation['iscrowd'] == 0
                and 'ignore' not in annotation)
    except (KeyError, TypeError, ValueError):
        return False


def _problem(found: str, index: int, annotation: dict, width: float,
             height: float) -> str | None:
    """Why mmdet's rules leave a box out; None if they do not."""
    try:
        x, y, w, h = annotation['bbox']
        inside = (max(0, min(x + w, width) - max(x, 0)) *
                  max(0, min(y + h, height) - max(y, 0)))
        # mmdet ignores the area of other boxes
        usable = inside and annotation['area'] > 0
    except (KeyError, TypeError, ValueError):
        raise ConfigValueError(_unreadable(found, index, annotation)) from None
    finite = math.isfinite(x + y + w + h)
    if usable and w >= 1 and h >= 1:
        if not finite:
            raise ConfigValueError(_unreadable(found, index, annotation))
        return None
    if not finite:
        return 'not finite'
    if w <= 0 or h <= 0:
        return 'without size'
    if not inside:
        return 'outside their images'
    return 'with an area of 0 or less' if not usable else 'below 1 pixel'


def _is_over_border(box: list, width: float, height: float) -> bool:
    x, y, w, h = box
    return x + w > width + 1 or y + h > height + 1


def _unreadable(found: str, index: int, annotation: dict) -> str:
    at = f'{found}: annotations[{index}]'
    for key in ('bbox', 'area'):
        if key not in annotation:
            return f'{at}: {annotation} has no {key!r}'
    box = annotation['bbox']
    if not (isinstance(box, list) and len(box) == 4
            and all(map(_is_number, box))):
        return (f'{at}.bbox={box!r} (id {annotation["id"]!r}) is not a box; '
                'expected [x, y, width, height], four numbers in pixels')
    return (f'{at}.area={annotation["area"]!r} (id {annotation["id"]!r}): '
            'expected a number')


def _note(file: CocoFile, reason: str, index: int, annotation: dict) -> None:
    count, example = file.bad.get(reason, (0, ''))
    if not count:
        shown = {k: annotation.get(k)
                 for k in ('id', 'image_id', 'category_id', 'bbox', 'area')}
        example = f'annotations[{index}]: {shown}'
    file.bad[reason] = count + 1, example


def _not_evaluable(index: int, annotation: dict) -> str | None:
    gone = [k for k in EVALUATED if k not in annotation]
    return (f'annotations[{index}] (id {annotation["id"]!r}) has no '
            f'{", ".join(map(repr, gone))}' if gone else None)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _check_ids(found: str, part: str, key: str, entries: list[dict],
               owners: list[dict] | None = None) -> None:
    """Check that ids are all numbers or all strings, as in ``owners``."""
    allowed = [_kind(type(owners[0]['id']))] if owners else list(IDS)
    kinds = {_kind(t) for t in {type(one[key]) for one in entries}}
    if len(kinds) <= 1 and kinds <= set(allowed):
        return
    first = _kind(type(entries[0][key]))
    right = first if first in allowed else allowed[0]
    for index, one in enumerate(entries):
        if _kind(type(one[key])) != right:
            raise ConfigValueError(
                f'{found}: {part}[{index}].{key}={one[key]!r} is a '
                f'{type(one[key]).__name__}; expected a {right}'
                f'{", like the ids that it refers to" if owners else ""}')


def _kind(of: type) -> str:
    return next((k for k, types in IDS.items() if of in types), of.__name__)


def _check_unique(found: str, part: str, entries: list[dict]) -> None:
    ids = [one['id'] for one in entries]
    if len(set(ids)) == len(ids):
        return
    first: dict[Any, int] = {}
    for index, one in enumerate(ids):
        if one in first:
            raise ConfigValueError(
                f'{found}: {part}[{first[one]}] and {part}[{index}] have the '
                f'same id, {one!r}; expected different ids')
        first[one] = index


def _check_shifts(found: str, annotations: list[dict], declared: set,
                  listed: set) -> None:
    """Find ids that are counted from 0 in one place and from 1 in another."""
    used = {a['category_id'] for a in annotations if a['image_id'] in listed}
    if _are_shifted(used, declared):
        raise ConfigValueError(
            f'{found}: the annotations use the category ids '
            f'{few(sorted(used))}, but categories lists '
            f'{few(sorted(declared))}: the ids look shifted by one, so all '
            'names would be wrong')
    if _are_shifted({a['image_id'] for a in annotations}, listed):
        warn(f'{found}: some annotations belong to images that the file does '
             'not list; if all image ids were shifted by one, every '
             'annotation would have an image. Check that the boxes are on '
             'the right images')


def _are_shifted(used: set, declared: set) -> bool:
    return (not used <= declared
            and all(isinstance(i, (int, float)) for i in used)
            and any({i + step for i in used} <= declared for step in (1, -1)))
