"""The comparison as one HTML page that needs nothing else."""
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv import imrescale

from ...version import __version__
from .curves import Panel, color, svgs
from .data import TestSet
from .judging import IOU, Judged, difference, disputed
from .style import CSS
from .table import cells, percent
from .work_dirs import Group

# the longer side of a picture in the page
SIDE = 480
# wrong boxes with a text; all have one under the mouse
LABELS = 6
KEYS = dict(
    right=f'right: the class is that of an object not found before, IoU '
          f'{IOU} or more', wrong='wrong', missed='object that is missed')
# nothing is fetched, nothing runs
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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


def page(groups: Sequence[Group], rows: Sequence[dict[str, Any]],
         panels: Sequence[Panel], examples: Sequence[Example], data: TestSet,
         images: int, score: float) -> str:
    """The page.

    Args:
        groups: the detectors.
        rows: their figures.
        panels: their curves.
        examples: all images of the test set.
        data: the test set.
        images: how many of them to show, those first on which the detectors
            differ most.
        score: of the detections that are shown.
    """
    names = [group.name for group in groups]
    chosen = sorted(examples, key=lambda s: difference(s.judged),
                    reverse=True)[:images]
    title = f'Comparison: {", ".join(names)}'
    return '\n'.join([
        '<!doctype html>', '<html lang="en">', '<head>',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f'<title>{escape(title)}</title>', f'<style>{CSS}</style>', '</head>',
        '<body>', '<main>', f'<h1>{escape(" · ".join(names))}</h1>',
        f'<p class="quiet">Compared by crosskd {__version__} on '
        f'{len(examples)} images of {escape(data.source)}, '
        f'{len(data.names)} classes.</p>',
        '<h2>Average precision</h2>', *_table(rows),
        *_classes(rows, data), *_curves(names, panels),
        *_pictures(groups, chosen, len(examples), data, score), '</main>',
        '</body>', '</html>', ''])


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    lines = [cells(row) for row in rows]
    means = {key: {row['metrics'][key]['mean'] for row in rows} - {None}
             for key in rows[0]['metrics']}
    best = {key: max(some) for key, some in means.items() if len(some) > 1}
    yield '<div class="wide" tabindex="0"><table>'
    yield from _head(['detector', *lines[0]])
    yield '<tbody>'
    for at, (row, line) in enumerate(zip(rows, lines)):
        name = re.sub('([_/])', r'\1<wbr>', escape(row['detector']))
        yield f'<tr><th scope="row">{_dot(at)}{name}</th>'
        for key, text in line.items():
            leads = (key in best
                     and row['metrics'][key]['mean'] == best[key])
            yield f'<td>{f"<strong>{text}</strong>" if leads else text}</td>'
        yield '</tr>'
    yield '</tbody></table></div>'
    if any(len(row['work_dirs']) > 1 for row in rows):
        yield ('<p class="quiet">Mean ± sample standard deviation of '
               'trainings that differ by seed only.</p>')
    if any(row['step_time'] for row in rows):
        yield ('<p class="quiet">Training step: median over the log, on the '
               'machine of the training; with the teacher where there is '
               'one.</p>')


def _classes(rows: Sequence[dict[str, Any]], data: TestSet) -> Iterator[str]:
    counts = dict.fromkeys(data.names.values(), 0)
    for boxes in data.boxes.values():
        for box in boxes:
            counts[data.names[box['category_id']]] += not box.get('iscrowd')
    yield '<details><summary>AP of each class</summary>'
    yield '<div class="wide" tabindex="0"><table>'
    yield from _head(['class', 'objects', *(r['detector'] for r in rows)])
    yield '<tbody>'
    for name, count in counts.items():
        values = ''.join(f'<td>{percent(row["classes"][name])}</td>'
                         for row in rows)
        yield (f'<tr><th scope="row">{escape(name)}</th><td>{count}</td>'
               f'{values}</tr>')
    yield '</tbody></table></div></details>'


def _head(heads: Sequence[str]) -> Iterator[str]:
    words = ''.join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    yield f'<thead><tr>{words}</tr></thead>'


def _curves(names: Sequence[str], panels: Sequence[Panel]) -> Iterator[str]:
    yield '<h2>During training</h2>'
    if not panels:
        yield '<p>No log of a training was found in the work directories.</p>'
        return
    keys = ''.join(f'<li>{_dot(at)}{escape(name)}</li>'
                   for at, name in enumerate(names))
    yield f'<ul class="keys">{keys}</ul><div class="curves">'
    yield from svgs(panels)
    yield '</div>'


def _pictures(groups: Sequence[Group], chosen: Sequence[Example], count: int,
              data: TestSet, score: float) -> Iterator[str]:
    yield '<h2>Where they differ</h2>' if len(groups) > 1 else (
        '<h2>Where it errs</h2>')
    order = ('those first on which most objects are found by some and missed '
             'by others; where these are as many, those whose numbers of '
             'wrong boxes differ most'
             if len(groups) > 1 else
             'those first that have most missed objects; where these are as '
             'many, most wrong boxes')
    yield (f'<p>{len(chosen)} of {count} images, {order}. Shown and counted '
           f'are detections with a score above {score}.</p>')
    several = [g for g in groups if len(g.members) > 1]
    if several:
        folders = ', '.join(escape(str(g.members[0].folder)) for g in several)
        yield ('<p class="quiet">Of what was trained several times, the '
               f'detections are those of {folders}.</p>')
    keys = ''.join(
        f'<li><svg class="key {name}" viewBox="0 0 26 16" aria-hidden="true">'
        f'<rect x="2" y="2" width="22" height="12"/></svg>{text}</li>'
        for name, text in KEYS.items())
    yield f'<ul class="keys">{keys}</ul>'
    for at, example in enumerate(chosen):
        yield from _section(f'photo{at}', example, groups, data)


def _section(name: str, example: Example, groups: Sequence[Group],
           data: TestSet) -> Iterator[str]:
    truth = [b for b in data.boxes[example.number] if not b.get('iscrowd')]
    said = _what_differs(example, groups, truth, data)
    yield f'<section class="example"><h3>{escape(example.path.name)}</h3>'
    yield f'<p>{said}</p><div class="tiles">'
    photo, width, height = _photo(name, data.picture(example.number))
    boxes = ''.join(_box('right', box, data) for box in truth)
    yield _tile('ground truth', _count(len(truth), 'object'), photo, boxes,
                width, height, example)
    for group, one in zip(groups, example.judged):
        missed = [o for i, o in enumerate(truth) if i not in one.right]
        right, wrong = ([box for box, found in zip(one.boxes, one.found)
                         if (found >= 0) == asked] for asked in (True, False))
        boxes = ''.join([
            *(_box('missed', box, data, shown=False) for box in missed),
            *(_box('wrong', box, data, shown=at < LABELS)
              for at, box in enumerate(wrong)),
            *(_box('right', box, data) for box in right)])
        text = (f'{len(one.right)} of {_count(one.num_objects, "object")} '
                f'found, {one.wrong} wrong')
        yield _tile(group.name, text, f'<use href="#{name}"/>', boxes, width,
                    height, example)
    yield '</div></section>'


def _what_differs(example: Example, groups: Sequence[Group],
                  truth: Sequence[dict], data: TestSet) -> str:
    if len(groups) == 1:
        return ''
    lines: dict[str, int] = {}
    for at in disputed(example.judged):
        found = [g.name for g, one in zip(groups, example.judged)
                 if at in one.right]
        missed = [g.name for g in groups if g.name not in found]
        label = data.names[truth[at]['category_id']]
        line = (f'<b>{escape(label)}</b> found by '
                f'{escape(", ".join(found))}, missed by '
                f'{escape(", ".join(missed))}')
        lines[line] = lines.get(line, 0) + 1
    texts = [f'{count} × {line}' if count > 1 else line
             for line, count in lines.items()]
    wrong = [one.wrong for one in example.judged]
    if max(wrong) > min(wrong):
        texts.append(f'wrong boxes: {", ".join(map(str, wrong))}')
    return ('; '.join(texts) or 'No difference') + '.'


def _photo(name: str, pixels: np.ndarray) -> tuple[str, int, int]:
    """An image as an SVG element, and its size."""
    height, width = pixels.shape[:2]
    if max(width, height) > SIDE:
        pixels = imrescale(pixels, (SIDE, SIDE), interpolation='area')
    _, content = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])
    # small ones are shown enlarged
    small = ' class="small"' if max(width, height) < SIDE / 2 else ''
    return (f'<image id="{name}"{small} width="{width}" height="{height}" '
            'href="data:image/jpeg;base64,'
            f'{b64encode(content.tobytes()).decode()}"/>', width, height)


def _box(kind: str, box: dict, data: TestSet, shown: bool = True) -> str:
    room = data.sizes[box['image_id']][0] / 16  # that a text needs
    x, y, width, height = (round(v, 1) for v in box['bbox'])
    text = data.names[box['category_id']]
    if 'score' in box:
        text += f' {box["score"]:.2f}'
    text = escape(text)
    # those of wrong boxes below, so that they cover no others
    if kind == 'wrong':
        place = f'y="{round(y + height, 1)}" dx=".2em" dy="-.3em"'
    else:
        place = (f'y="{y}" dy="-.25em"' if y > room else
                 f'y="{y}" dx=".2em" dy="1.1em"')
    label = f'<text x="{x}" {place}>{text}</text>'
    return (f'<g class="{kind}"><title>{kind}: {text}</title><rect x="{x}" '
            f'y="{y}" width="{width}" height="{height}"/>'
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


def _dot(at: int) -> str:
    return f'<span class="dot" style="background: {color(at)}"></span>'
