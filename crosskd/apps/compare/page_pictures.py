"""The pictures of the page: the detections in test images."""
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv import imrescale

from .data import TestSet
from .errors_by_kind import kinds
from .judging import IOU, Judged
from .picture_groups import PictureGroup, picture_groups
from .work_dirs import Group

# the longer side of a picture in the page
SIDE = 480
# pictures of a group; the others are folded
UNFOLDED = 8
# wrong boxes with a label; the others show it under the mouse
LABELS = 6
KEYS = dict(right=f'right (same class, IoU ≥ {IOU})', wrong='wrong',
            missed='missed object')


@dataclass(frozen=True)
class Example:
    """One test image.

    Attributes:
        number: its id.
        path: its file.
        judged: the detections of each detector.
    """
    number: Any
    path: Path
    judged: list[Judged]


def pictures(groups: Sequence[Group], rows: Sequence[dict[str, Any]],
             examples: Sequence[Example], data: TestSet,
             images: int) -> Iterator[str]:
    """The section with the pictures, as HTML.

    Args:
        groups: the detectors.
        rows: their figures.
        examples: all images of the test set.
        data: the test set.
        images: number of images to show.
    """
    names = [group.name for group in groups]
    found = picture_groups([e.judged for e in examples], names, _pair(rows),
                           images)
    yield '<h2>Pictures</h2>'
    if not examples or not images:
        yield '<p>No pictures (--images 0).</p>'
        return
    yield ('<p class="quiet">Each group starts with the images that have the '
           'most such objects. No image is shown twice: an image that fits '
           'several groups is in the one for which it has the most objects. '
           'It is in the last group only if it fits no other.</p>')
    keys = ''.join(
        f'<li><svg class="key {name}" viewBox="0 0 26 16" aria-hidden="true">'
        f'<rect x="2" y="2" width="22" height="12"/></svg>{text}</li>'
        for name, text in KEYS.items())
    yield f'<ul class="keys">{keys}</ul>'
    for group in found:
        yield from _group(group, groups, examples, data)


def _pair(rows: Sequence[dict[str, Any]]) -> tuple[int, int] | None:
    """The indices of the first detector with a baseline, and of that."""
    names = [row['detector'] for row in rows]
    return next(((at, names.index(row['gain']['over']))
                 for at, row in enumerate(rows) if row['gain']), None)


def _group(group: PictureGroup, groups: Sequence[Group],
           examples: Sequence[Example], data: TestSet) -> Iterator[str]:
    yield f'<h3>{escape(group.title)}</h3>'
    if not group.number:
        yield '<p>None.</p>'
        return
    elsewhere = '' if len(group.chosen) == group.images else (
        f'; {len(group.chosen)} of these images are shown here')
    yield (f'<p>{group.number} in {_count(group.images, "image")}'
           f'{elsewhere}.</p>')
    sections = [''.join(_section(f'photo{at}', examples[at], groups, data))
                for at in group.chosen]
    yield from sections[:UNFOLDED]
    if sections[UNFOLDED:]:
        yield (f'<details><summary>{len(sections) - UNFOLDED} more'
               '</summary>')
        yield from sections[UNFOLDED:]
        yield '</details>'


def _section(name: str, example: Example, groups: Sequence[Group],
           data: TestSet) -> Iterator[str]:
    truth = [b for b in data.boxes[example.number] if not b.get('iscrowd')]
    said = _what_differs(example, groups, truth, data)
    yield f'<section class="example"><h4>{escape(example.path.name)}</h4>'
    yield f'<p>{said}</p><div class="tiles">'
    photo, width, height = _photo(name, data.picture(example.number))
    boxes = ''.join(_box('right', box, data) for box in truth)
    yield _tile('ground truth', _count(len(truth), 'object'), photo, boxes,
                width, height, example)
    for group, one in zip(groups, example.judged):
        missed = [o for i, o in enumerate(truth) if i not in one.right]
        sorted_out = list(zip(one.boxes, kinds(one, truth)))
        right = [box for box, kind in sorted_out if kind is None]
        wrong = [(box, kind) for box, kind in sorted_out if kind]
        boxes = ''.join([
            *(_box('missed', box, data, shown=False) for box in missed),
            *(_box('wrong', box, data, shown=at < LABELS, why=f' ({kind})')
              for at, (box, kind) in enumerate(wrong)),
            *(_box('right', box, data) for box in right)])
        text = (f'{len(one.right)} of {_count(one.num_objects, "object")} '
                f'found, {one.wrong} wrong')
        yield _tile(group.name, text, f'<use href="#{name}"/>', boxes, width,
                    height, example)
    yield '</div></section>'


def _what_differs(example: Example, groups: Sequence[Group],
                  truth: Sequence[dict], data: TestSet) -> str:
    lines: dict[str, int] = {}
    for at, box in enumerate(truth):
        found = [g.name for g, one in zip(groups, example.judged)
                 if at in one.right]
        missed = [g.name for g in groups if g.name not in found]
        if missed:
            line = (f'<b>{escape(data.names[box["category_id"]])}</b> '
                    f'{_by(found, missed)}')
            lines[line] = lines.get(line, 0) + 1
    texts = [f'{count} × {line}' if count > 1 else line
             for line, count in lines.items()]
    wrong = [one.wrong for one in example.judged]
    if max(wrong) > min(wrong):
        counts = (f'{count} by {escape(group.name)}'
                  for count, group in zip(wrong, groups))
        texts.append(f'wrong boxes: {", ".join(counts)}')
    return f'{"; ".join(texts)}.' if texts else ''


def _by(found: Sequence[str], missed: Sequence[str]) -> str:
    if not found:
        return 'missed by all' if len(missed) > 1 else 'missed'
    return escape(f'found by {" and ".join(found)}, missed by '
                  f'{" and ".join(missed)}')


def _photo(name: str, pixels: np.ndarray) -> tuple[str, int, int]:
    """An image as an SVG element, and its size."""
    height, width = pixels.shape[:2]
    if max(width, height) > SIDE:
        pixels = imrescale(pixels, (SIDE, SIDE), interpolation='area')
    _, content = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])
    # small images are enlarged
    small = ' class="small"' if max(width, height) < SIDE / 2 else ''
    return (f'<image id="{name}"{small} width="{width}" height="{height}" '
            'href="data:image/jpeg;base64,'
            f'{b64encode(content.tobytes()).decode()}"/>', width, height)


def _box(kind: str, box: dict, data: TestSet, shown: bool = True,
         why: str = '') -> str:
    room = data.sizes[box['image_id']][0] / 16  # space for a label
    x, y, width, height = (round(v, 1) for v in box['bbox'])
    text = data.names[box['category_id']]
    if 'score' in box:
        text += f' {box["score"]:.2f}'
    text = escape(text)
    # labels of wrong boxes are below, so that they cover no others
    if kind == 'wrong':
        place = f'y="{round(y + height, 1)}" dx=".2em" dy="-.3em"'
    else:
        place = (f'y="{y}" dy="-.25em"' if y > room else
                 f'y="{y}" dx=".2em" dy="1.1em"')
    label = f'<text x="{x}" {place}>{text}</text>'
    return (f'<g class="{kind}"><title>{kind}{why}: {text}</title>'
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}"/>'
            f'{label if shown else ""}</g>')


def _tile(name: str, text: str, photo: str, boxes: str, width: int,
          height: int, example: Example) -> str:
    label = escape(f'{example.path.name}, {name}')  # the caption has the rest
    return (f'<figure><svg class="photo" viewBox="0 0 {width} {height}" '
            f'style="--text: {width / 28:.2f}px" role="img" '
            f'aria-label="{label}">{photo}<g class="boxes">{boxes}</g></svg>'
            f'<figcaption><b>{escape(name)}</b><br>{text}</figcaption>'
            '</figure>')


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}{"" if number == 1 else "s"}'
