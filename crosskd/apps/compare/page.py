"""The comparison as a self-contained HTML page."""
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from ...version import __version__
from .curves import Panel, color, svgs
from .data import TestSet
from .page_pictures import Example, pictures
from .style import CSS
from .table import Table, class_table, tables
from .verdict import verdict
from .work_dirs import Group

# nothing is downloaded, no script runs
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(groups: Sequence[Group], rows: Sequence[dict[str, Any]],
         panels: Sequence[Panel], examples: Sequence[Example], data: TestSet,
         images: int) -> str:
    """The page.

    Args:
        groups: the detectors.
        rows: their figures.
        panels: their curves.
        examples: all images of the test set.
        data: the test set.
        images: number of images to show.
    """
    names = [group.name for group in groups]
    title = f'Comparison: {", ".join(names)}'
    return '\n'.join([
        '<!doctype html>', '<html lang="en">', '<head>',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f'<title>{escape(title)}</title>', f'<style>{CSS}</style>', '</head>',
        '<body>', '<main>', f'<h1>{escape(" · ".join(names))}</h1>',
        *(f'<p class="verdict">{escape(text)}</p>'
          for text in verdict(rows)),
        f'<p class="quiet">Compared by crosskd {__version__} on '
        f'{len(examples)} images of {escape(data.source)}, '
        f'{len(data.names)} classes.</p>',
        *_figures(rows), *_classes(rows, data),
        *pictures(groups, rows, examples, data, images),
        *_curves(names, panels), '</main>', '</body>', '</html>', ''])


def _figures(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    for table in tables(rows):
        yield f'<h2>{table.title}</h2>'
        yield from _table(table, dots=True)


def _classes(rows: Sequence[dict[str, Any]], data: TestSet) -> Iterator[str]:
    counts = dict.fromkeys(data.names.values(), 0)
    for boxes in data.boxes.values():
        for box in boxes:
            counts[data.names[box['category_id']]] += not box.get('iscrowd')
    table = class_table(rows)
    yield f'<h2>{table.title}</h2>'
    yield from _table(replace(
        table, heads=[table.heads[0], 'objects', *table.heads[1:]],
        lines=[[name, str(counts[name]), *cells]
               for name, *cells in table.lines]))


def _table(table: Table, dots: bool = False) -> Iterator[str]:
    yield (f'<div class="wide" tabindex="0" role="region" '
           f'aria-label="{table.title}"><table>')
    heads = ''.join(f'<th scope="col">{escape(head)}</th>'
                    for head in table.heads)
    yield f'<thead><tr>{heads}</tr></thead><tbody>'
    for at, (first, *cells) in enumerate(table.lines):
        name = re.sub('([_/])', r'\1<wbr>', escape(first))
        yield f'<tr><th scope="row">{dot(at) if dots else ""}{name}</th>'
        for column, cell in enumerate(cells, 1):
            text = escape(cell)
            if (at, column) in table.best:
                text = f'<strong>{text}</strong>'
            yield f'<td>{text}</td>'
        yield '</tr>'
    yield '</tbody></table></div>'
    for note in table.notes:
        yield f'<p class="quiet">{escape(note)}</p>'


def _curves(names: Sequence[str], panels: Sequence[Panel]) -> Iterator[str]:
    yield '<h2>During training</h2>'
    if not panels:
        yield '<p>The work directories have no training logs.</p>'
        return
    keys = ''.join(f'<li>{dot(at)}{escape(name)}</li>'
                   for at, name in enumerate(names))
    yield f'<ul class="keys">{keys}</ul><div class="curves">'
    yield from svgs(panels)
    yield '</div>'


def dot(at: int) -> str:
    """A dot in a detector's colour."""
    return f'<span class="dot" style="background: {color(at)}"></span>'
