"""Comparing the content of a built data set with its annotation file."""
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.dataset import BaseDataset

from ..arguments import few
from ..errors import ConfigValueError
from .coco_file import UNDECLARED, CocoFile
from .messages import warn

# up to this fraction of the boxes may be unusable; large published data sets
# have a few such boxes
TOLERATED = 0.1
# with less than this fraction of the boxes, nothing can be learnt
NEARLY_NOTHING = 0.05
# if more boxes extend beyond their images, they may be [x1, y1, x2, y2]
MANY_OVER = 0.25
# a warning is logged if filters leave out a larger fraction of the images
SAID = 0.1


@dataclass
class Content:
    """The content of a built data set, after mmdet's filters.

    Attributes:
        key: of the data set in the config.
        paths: id and path of every image.
        boxes: how many boxes an image has, by its id; without those that are
            ignored in training.
        labels: how often each label (index of a class) occurs.
        is_detection: whether the images have boxes at all.
    """

    key: str
    paths: list[tuple[Any, Any]] = field(default_factory=list)
    boxes: dict[Any, int] = field(default_factory=dict)
    labels: Counter = field(default_factory=Counter)
    is_detection: bool = True


def look_at(key: str, dataset: BaseDataset) -> Content:
    """Count the content of a built data set, in one pass."""
    kept = Content(key)
    for info in _infos(dataset):
        if 'instances' not in info:
            kept.is_detection = False
            return kept
        labels = [i['bbox_label'] for i in info['instances']
                  if not i.get('ignore_flag') and 'bbox_label' in i]
        path, number = info.get('img_path'), info.get('img_id')
        kept.paths.append((number, path))
        kept.boxes[number] = kept.boxes.get(number, 0) + len(labels)
        kept.labels.update(labels)
    return kept


def _infos(dataset: BaseDataset) -> Iterator[dict]:
    """The entries of a data set, without copying or changing them."""
    if not dataset.serialize_data:
        yield from dataset.data_list
        return
    for index in range(len(dataset)):
        yield BaseDataset.get_data_info(dataset, index)


def compare(dataset: BaseDataset, kept: Content, file: CocoFile) -> None:
    """Find boxes and images of the file that are not in the data set.

    A few cause a warning, many an error; the limits are above.

    Args:
        dataset: the built data set.
        kept: its content.
        file: the file that it was read from.

    Raises:
        ValueError: more than ``TOLERATED`` of the boxes are lost, or less than
            ``NEARLY_NOTHING`` of them are left.
    """
    found = f'{kept.key}.ann_file={file.path!r}'
    meant, left = sum(file.boxes.values()), sum(kept.labels.values())
    lost, small, other = _count_lost(dataset, kept, file)
    reasons = [f'{count} {why} (such as {example})'
               for why, (count, example) in file.bad.items()]
    unexplained = lost - sum(count for count, _ in file.bad.values())
    if unexplained > 0:
        reasons.append(f'{unexplained} are left out by '
                       f'{type(dataset).__name__} or its filter_cfg='
                       f'{dataset.filter_cfg}')
    if small:
        reasons.append(f'{small} images are smaller than filter_cfg.min_size='
                       f'{dataset.filter_cfg["min_size"]}')
    if file.unlisted:
        unlisted = (f'{file.unlisted} annotations belong to images that the '
                    'file does not list')
        reasons.append(unlisted)
        warn(f'{found}: {unlisted}; they are not read')
    if file.over_border > MANY_OVER * meant:
        warn(f'{found}: {file.over_border} of {meant} boxes extend beyond '
             'their images; are they [x1, y1, x2, y2]? Expected '
             '[x, y, width, height]')
    why = '; '.join(reasons)
    if meant and left < NEARLY_NOTHING * meant and dataset._indices is None:
        raise ConfigValueError(
            f'{found}: {left} of {meant} boxes are left: {why}'
            f'{_hint(file)}')
    if lost > 0:
        message = f'{found}: {lost} of {meant} boxes cannot be used: {why}'
        if lost > TOLERATED * meant:
            raise ConfigValueError(message + _hint(file))
        warn(f'{message}; they are left out')
    elif small:
        warn(f'{found}: {why}; they are left out')
    if other > SAID * len(file.sizes):
        warn(f'{found}: {other} of {len(file.sizes)} images have no boxes '
             'and are left out (filter_cfg.filter_empty_gt); to train on '
             'them, too, set filter_empty_gt=False')


def check_boxes(dataset: BaseDataset, kept: Content) -> None:
    """Check the boxes of a data set that is not read from COCO annotations.

    Args:
        dataset: the built data set.
        kept: what is in it.

    Raises:
        ValueError: more than ``TOLERATED`` of the boxes have no size or are
            outside their images.
    """
    count, example = 0, ''
    for info in _infos(dataset):
        for instance in info['instances']:
            box = instance.get('bbox')
            if box is None or instance.get('ignore_flag') or _is_usable(
                    box, info.get('width'), info.get('height')):
                continue
            if not count:
                example = f'{list(box)} in {info.get("img_path")!r}'
            count += 1
    total = sum(kept.labels.values())
    if not count:
        return
    message = (f'{kept.key}: {count} of {total} boxes have no size or are '
               f'outside their images (such as {example})')
    if count > TOLERATED * total:
        raise ConfigValueError(
            f'{message}; expected corners [x1, y1, x2, y2] in '
            'pixels, with x1 < x2 and y1 < y2')
    warn(message)


def _is_usable(box: Sequence, width: Any, height: Any) -> bool:
    x1, y1, x2, y2 = box
    inside = x2 > 0 and y2 > 0 and (not width or x1 < width) and (
        not height or y1 < height)
    return x2 > x1 and y2 > y1 and inside


def _count_lost(dataset: BaseDataset, kept: Content,
                file: CocoFile) -> tuple[int, int, int]:
    """Boxes lost, images that are too small, and images without boxes."""
    filters = dataset.filter_cfg or {}
    smallest = 0 if dataset.test_mode else filters.get('min_size', 0)
    lost = small = empty = 0
    for number, size in file.sizes.items():
        meant, left = file.boxes.get(number, 0), kept.boxes.get(number)
        if left is not None:
            lost += max(meant - left, 0)
        elif dataset._indices is not None:
            continue  # the config asks for some of the images only
        elif min(size) < smallest:
            small += 1
        elif meant:
            lost += meant
        else:
            empty += 1
    return lost, small, empty


def _hint(file: CocoFile) -> str:
    if UNDECLARED in file.bad:
        return ('. Expected a category_id from categories; to train without '
                'some classes, leave them out of metainfo.classes')
    return ('. Expected [x, y, width, height] in pixels, of at least 1 pixel '
            'and inside the image, and an area above 0, such as width × '
            'height' if file.bad else '')


def check_not_empty(key: str, every: list[Content], classes: tuple,
                    files: list[str]) -> None:
    """Check that there are boxes; warn about classes without any.

    Args:
        key: of the whole data set in the config.
        every: the content of each of its parts.
        classes: names of the classes.
        files: the files that the parts were read from.

    Raises:
        ValueError: the training data has no box, or a box has a label that
            is not the index of a class.
    """
    labels = sum((kept.labels for kept in every), Counter())
    at = every[0].key if len(every) == 1 else key
    if not labels:
        message = (f'{at}: no image has a box of the classes {few(classes)} '
                   f'in {", ".join(files)} (boxes marked iscrowd, ignore or '
                   'difficult do not count)')
        if key.startswith('train'):
            raise ConfigValueError(message)
        warn(f'{message}; there is nothing to validate')
    strange = [label for label in labels if isinstance(label, int)
               and not 0 <= label < len(classes)]
    if strange:
        raise ConfigValueError(
            f'{at}: {", ".join(files)} has boxes with the label {strange[0]}; '
            f'expected 0 to {len(classes) - 1}, for the classes '
            f'{few(classes)}')
    gone = [n for label, n in enumerate(classes) if not labels[label]]
    if gone and key.startswith('train'):
        warn(f'{at}: no box of the classes {few(gone)} in {", ".join(files)}; '
             'are the names in metainfo.classes spelled the same?')
