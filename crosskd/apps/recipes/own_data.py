"""Reading a folder of COCO data: classes, image sizes, the two parts."""
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ...arguments import few
from ...data_checks.coco_file import look_through, read_json
from ...errors import ConfigValueError
from .find_data import find_annotations, find_images

LARGEST = (1333, 800)  # mmdet's longer and shorter side for COCO
HELD_OUT = 0.2  # of the images, for validation
TRIAL_IMAGES = 40


@dataclass
class Part:
    """The training or the validation data.

    Attributes:
        name: ``'train'`` or ``'val'``.
        file: its annotation file.
        content: the content of the file, without the images of the other
            part.
        images: the folder of its images.
        rewritten: whether ``content`` differs from ``file``, so that it has to
            be written to a new file.
    """
    name: str
    file: Path
    content: dict[str, Any]
    images: Path
    rewritten: bool = False


@dataclass
class Data:
    """A data set as the configs need it.

    Attributes:
        root: its folder.
        train, val: its two parts.
        classes: names of the categories, in the order of the files.
        scale: (longer, shorter) side to which training images are resized.
        has_masks: whether all boxes have a segmentation.
        said: notes for the user about the choices made.
    """
    root: Path
    train: Part
    val: Part
    classes: tuple[str, ...]
    scale: tuple[int, int]
    has_masks: bool
    said: list[str] = field(default_factory=list)


def read_data(root: Path, key: str, skipped: Path, trial: bool) -> Data:
    """Read a folder with COCO annotations and images.

    Args:
        root: the folder.
        key: what named it, for messages.
        skipped: a folder that is not searched, such as that of the configs.
        trial: take 40 images of each part, the same ones every time.

    Raises:
        FileNotFoundError: the folder or images are missing.
        ValueError: annotations cannot be read, or the two parts differ in
            their categories.
    """
    found = find_annotations(root, key, skipped)
    flag = key.partition('=')[0]
    said = [f'{file.relative_to(root)} is not used' for file in found.unused]
    train = _read(root, key, skipped, 'train', found.train)
    if found.val is None:
        val = _hold_out(key, train)
        said.append(
            f'{found.train.relative_to(root)} is the only annotation file: a '
            'fifth of its images, chosen by a hash of their names, is held '
            'out for validation. If some images are near-duplicates (such as '
            'frames of a video), split the file into train.json and val.json '
            'yourself')
    else:
        val = _read(root, key, skipped, 'val', found.val)
    parts = [train, val]
    classes = _classes(root, key, parts, said)
    sizes = [look_through(flag, str(part.file), part.content, classes).sizes
             for part in parts]
    if trial:
        for part in parts:
            _take_some(part)
        said.append('this is a trial: it shows that everything works; its AP '
                    'means nothing')
    said.insert(0, f'classes: {few(classes, show=str)}; ' +
                ', '.join(f'{len(part.content["images"])} images for {use}'
                          for part, use in zip(
                              parts, ('training', 'validation'))))
    boxes = [a for part in parts for a in part.content.get('annotations', [])]
    return Data(root, train, val, classes, _scale(list(sizes[0].values())),
                bool(boxes) and all(a.get('segmentation') for a in boxes),
                said)


def _read(root: Path, key: str, skipped: Path, name: str,
          file: Path) -> Part:
    content = read_json(key.partition('=')[0], str(file))
    names = [image['file_name'] for image in content['images']]
    return Part(name, file, content,
                find_images(root, file, names, key, skipped))


def _hold_out(key: str, train: Part) -> Part:
    """Take some images for validation, by a hash of their names."""
    images = sorted(train.content['images'], key=lambda image: hashlib.sha1(
        image['file_name'].encode(), usedforsecurity=False).digest())
    if len(images) < 2:
        raise ConfigValueError(
            f'{key}: expected at least one image for training and one for '
            f'validation, found {len(images)} in {train.file.name}')
    count = max(round(HELD_OUT * len(images)), 1)
    val = Part('val', train.file, dict(train.content), train.images)
    _keep(val, {image['id'] for image in images[:count]})
    _keep(train, {image['id'] for image in images[count:]})
    return val


def _keep(part: Part, ids: set) -> None:
    """Leave out all images but some."""
    part.content = {
        **part.content,
        'images': [i for i in part.content['images'] if i['id'] in ids],
        'annotations': [a for a in part.content.get('annotations', [])
                        if a['image_id'] in ids]}
    part.rewritten = True


def _take_some(part: Part) -> None:
    """Take the images of a trial, evenly spread over those with boxes."""
    drawn = {a['image_id'] for a in part.content.get('annotations', [])}
    ids = [i['id'] for i in part.content['images'] if i['id'] in drawn]
    if len(ids) > TRIAL_IMAGES:
        _keep(part, {ids[i * len(ids) // TRIAL_IMAGES]
                     for i in range(TRIAL_IMAGES)})


def _classes(root: Path, key: str, parts: Sequence[Part],
             said: list[str]) -> tuple[str, ...]:
    """Names of the categories that both parts have."""
    used = {c['name'] for part in parts
            for ids in [{a['category_id'] for a in
                         part.content.get('annotations', [])}]
            for c in part.content['categories'] if c['id'] in ids}
    every = []
    for part in parts:
        kept = _without_groups(part, used)
        names = [c['name'] for c in kept]
        twice = [n for i, n in enumerate(names) if n in names[:i]]
        file = part.file.relative_to(root)
        if twice:
            raise ConfigValueError(
                f'{key}: {file} has several categories with the name '
                f'{twice[0]!r}; expected one of each name')
        gone = [c['name'] for c in part.content['categories']
                if c not in kept]
        if gone and part is parts[0]:
            said.append(f'not used: the category {few(gone)}, which only '
                        'groups the others and has no boxes')
        if set(gone) & set(names):  # mmdet finds categories by their names
            part.content = {**part.content, 'categories': kept}
            part.rewritten = True
        every.append(names)
    ours, theirs = every
    if ours == theirs:
        return tuple(ours)
    files = [part.file.relative_to(root) for part in parts]
    if set(ours) == set(theirs):
        # mmdet numbers the classes in the order of each file
        order = {name: at for at, name in enumerate(ours)}
        val = parts[1]
        val.content = {**val.content, 'categories': sorted(
            val.content['categories'],
            key=lambda one: order.get(one['name'], len(order)))}
        val.rewritten = True
        said.append(f'{files[1]} was copied, with its categories in the order '
                    f'of {files[0]}')
        return tuple(ours)
    missing = [(file, [n for n in other if n not in own])
               for file, own, other in zip(files, every, every[::-1])]
    what = '; '.join(f'{file} has no {few(names)}'
                     for file, names in missing if names)
    raise ConfigValueError(
        f'{key}: {files[0]} and {files[1]} have different categories: {what}. '
        'Expected the same names in both')


def _without_groups(part: Part, used: set[str]) -> list[dict]:
    """The categories without those that only group others (Roboflow)."""
    categories = part.content['categories']
    boxes = {a['category_id'] for a in part.content.get('annotations', [])}
    kept = []
    for category in categories:
        name = category['name']
        groups = any(other.get('supercategory') == name
                     for other in categories if other is not category)
        twin = any(other['name'] == name for other in categories
                   if other is not category)
        if not groups or category['id'] in boxes or (
                name in used and not twin):
            kept.append(category)
    return kept


def _scale(sizes: Sequence[tuple]) -> tuple[int, int]:
    """The median size of the images, at most mmdet's usual size."""
    sides = (median(map(max, sizes)), median(map(min, sizes)))
    factor = min(1.0, *(most / side for most, side in zip(LARGEST, sides)))
    return round(sides[0] * factor), round(sides[1] * factor)
