"""Finding annotation files and images in a folder of data."""
import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...arguments import few
from ...errors import ConfigFileNotFoundError, ConfigValueError
from .other_formats import other_format

DEPTH = 3  # of folders below the given one
SAMPLE = 20  # images that are looked for in each folder
WORDS = {'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val',
         'validation': 'val', 'test': 'test', 'testing': 'test'}
# COCO's own annotation folder also has files without boxes
NO_BOXES = {'captions', 'keypoints', 'panoptic', 'stuff', 'info'}
EXPECTED = ('Expected annotations in COCO format, such as train.json and '
            'val.json, and a folder images/')


class Found(NamedTuple):
    """The annotation files of a data set.

    Attributes:
        train: the file of the training images.
        val: the file of the validation images; None if ``train`` has all
            images.
        unused: files that are not used.
    """
    train: Path
    val: Path | None
    unused: list[Path]


def find_annotations(root: Path, key: str, skipped: Path) -> Found:
    """Find the annotation files in a folder.

    A file is for training or for validation if its name says so (``train``,
    ``val``, ``valid``, …), or else the name of the folder it is in.  A test
    split is used for validation if there is no other.

    Args:
        root: the folder.
        key: the option that names it, for messages.
        skipped: a folder that is not searched, such as that of the configs.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are no COCO annotations, or several files for
            training or for validation.
    """
    if not root.is_dir():
        raise ConfigFileNotFoundError(
            f'{key}: {"is a file" if root.exists() else "no such folder"} '
            f'(looked from {Path.cwd()}). {EXPECTED}')
    files = sorted(
        file for folder in folders(root, skipped)
        for file in folder.glob('*.json')
        if not NO_BOXES & set(_words(file.stem)) and _is_coco(file))
    if not files:
        raise ConfigValueError(
            f'{key}: no file with COCO annotations in this folder or the '
            f'{DEPTH} levels below it. {other_format(root) or EXPECTED}')
    parts: dict[str | None, list[Path]] = {}
    for file in files:
        parts.setdefault(_part_of(file, root), []).append(file)
    for part in ('train', 'val', 'test'):
        if len(parts.get(part, ())) > 1 and not (
                part == 'test' and 'val' in parts):
            raise ConfigValueError(
                f'{key}: several annotation files for the {part} images: '
                f'{_names(parts[part], root)}. Expected one; move the others '
                'out of this folder')
    if len(files) == 1:
        return Found(files[0], None, [])
    held_out = 'val' if 'val' in parts else 'test'
    if 'train' in parts and (held_out in parts or None not in parts):
        train, = parts['train']
        val = parts[held_out][0] if held_out in parts else None
        return Found(train, val, [f for f in files if f not in (train, val)])
    raise ConfigValueError(
        f'{key}: cannot tell which annotation file is for training and which '
        f'for validation: {_names(files, root)}. Expected names with "train" '
        'and "val", such as train.json and val.json')


def find_images(root: Path, file: Path, names: Sequence[str], key: str,
                skipped: Path) -> Path:
    """Find the folder that the images of an annotation file are in.

    Args:
        root: the folder of the data.
        file: the annotation file.
        names: names of the images, as in the file.
        key: the option that names ``root``, for messages.
        skipped: a folder that is not searched.

    Raises:
        FileNotFoundError: no folder has all of the images.
    """
    sample = names[::max(len(names) // SAMPLE, 1)]
    every = list(folders(root, skipped))
    part = _part_of(file, root)
    # the usual ones first: others may hold resized copies, and images of
    # another part may have the same names
    places = [file.parent, file.parent / 'images', *(
        one for one in every if part and _part_of(one, root) == part),
        root / 'images', *every]
    counts = [sum((place / name).is_file() for name in sample)
              for place in places]
    place = places[counts.index(max(counts))]
    gone = [name for name in names if not (place / name).is_file()]
    if not gone:
        return place
    if not max(counts):
        raise ConfigFileNotFoundError(
            f'{key}: the images of {file.relative_to(root)} were not found: '
            f'neither this folder nor the {DEPTH} levels below it have '
            f'{few(names, 2)}')
    raise ConfigFileNotFoundError(
        f'{key}: {len(gone)} of {len(names)} images of '
        f'{file.relative_to(root)} are not in {place}: {few(gone, 3)}')


def folders(root: Path, skipped: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yield a folder and those below it, in the order of their names."""
    yield root
    if depth:
        for inner in sorted(root.iterdir()):
            if (inner.is_dir() and inner.name[0] != '.'
                    and inner.resolve() != skipped.resolve()):
                yield from folders(inner, skipped, depth - 1)


def _part_of(file: Path, root: Path) -> str | None:
    inner = file.relative_to(root)
    for name in reversed([*inner.parts[:-1], inner.stem]):
        parts = {WORDS[word] for word in _words(name) if word in WORDS}
        if parts:
            return parts.pop() if len(parts) == 1 else None
    return None


def _words(name: str) -> list[str]:
    return re.findall('[a-z]+', name.lower())


def _is_coco(file: Path) -> bool:
    """Whether a file has the keys of COCO annotations, without parsing it."""
    if not file.is_file() or not file.stat().st_size:
        return False
    with file.open('rb') as opened, mmap.mmap(
            opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return all(text.find(word) >= 0 for word in (
            b'"images"', b'"annotations"', b'"file_name"'))


def _names(files: Sequence[Path], root: Path) -> str:
    return few([str(file.relative_to(root)) for file in files], show=str)
