"""The commands that convert data in other formats to COCO format."""
import shlex
from collections.abc import Iterator
from pathlib import Path

SUPERVISION = ('the library supervision can convert it. Run\n'
               '  pip install supervision\n')
MOST = 3  # conversions that a message shows


def other_format(root: Path) -> str:
    """How to convert a folder of Pascal VOC or YOLO data.

    Args:
        root: the folder.

    Returns:
        str: the end of a message; empty if the folder has neither.
    """
    for name, commands in (('Pascal VOC', list(_voc(root))),
                           ('YOLO', list(_yolo(root)))):
        if commands:
            lines = [f'  python -c {_quoted(line)}'
                     for line in commands[:MOST]]
            return (f'This looks like {name} data; {SUPERVISION}'
                    + '\n'.join(lines) + '\nThen run make_config with '
                    f'--data {shlex.quote(str(_target(root)))}')
    return ''


def _voc(root: Path) -> Iterator[str]:
    for boxes in _folders_with(root, '*.xml'):
        images = boxes.with_name('JPEGImages')
        places = [images, boxes.with_name('images'), boxes]
        place = next(filter(Path.is_dir, places))
        yield _command(
            f'from_pascal_voc({str(place)!r}, {str(boxes)!r})', root,
            _part(boxes, root))


def _yolo(root: Path) -> Iterator[str]:
    settings = sorted([*root.glob('*.yaml'), *root.glob('*.yml')])
    for boxes in _folders_with(root, '*.txt'):
        parts = list(boxes.relative_to(root).parts)
        if not settings or 'labels' not in parts:
            continue
        parts[parts.index('labels')] = 'images'
        yield _command(
            f'from_yolo({str(root.joinpath(*parts))!r}, {str(boxes)!r}, '
            f'{str(settings[0])!r})', root, _part(boxes, root))


def _command(reading: str, root: Path, part: str) -> str:
    to = _target(root) / part
    return (f'import supervision as sv; sv.DetectionDataset.{reading}.as_coco('
            f'{str(to)!r}, {str(to / "_annotations.coco.json")!r})')


def _quoted(line: str) -> str:
    """A line of Python as one word of a shell, readable if it can be."""
    return shlex.quote(line) if set(line) & set('"$`\\!') else f'"{line}"'


def _part(boxes: Path, root: Path) -> str:
    """The folder that a part of the data is converted to."""
    names = [name for name in boxes.relative_to(root).parts
             if name not in ('labels', 'Annotations', 'annotations')]
    return '/'.join(names)


def _target(root: Path) -> Path:
    return root.with_name(f'{root.name}_coco')


def _folders_with(root: Path, pattern: str) -> list[Path]:
    return sorted({file.parent for file in root.rglob(pattern)})
