"""The figures as tables of text, for the terminal and the page."""
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors_by_kind import KINDS
from .notes import (
    about_flops,
    about_gain,
    about_objects,
    about_time,
    about_training,
)
from .texts import (
    NOTHING,
    gain,
    millions,
    milliseconds,
    percent,
    short,
    signed,
)
from .verdict import verdict

WIDTH = 88  # of sentences in a terminal
SIZES = ('AP small', 'AP medium', 'AP large')


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        title: the title.
        heads: names of the columns.
        lines: the cells of each row; the first one names the row.
        notes: sentences on how the values were measured.
        best: (row, column) of the cells with the best value.
    """
    title: str
    heads: list[str]
    lines: list[list[str]]
    notes: list[str] = field(default_factory=list)
    best: frozenset[tuple[int, int]] = frozenset()


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """All tables with one row for each detector."""
    gains = any(row['gain'] for row in rows)
    return [
        _of('Accuracy, size and speed', rows,
            [_main(row, gains) for row in rows],
            [*about_gain(rows), *about_time(rows), *about_flops(rows)]),
        _of('AP by object size, and training', rows,
            [_more(row) for row in rows], about_training(rows)),
        _of('Objects found, and wrong boxes by kind', rows,
            [_objects(row, gains) for row in rows], about_objects(rows))]


def _of(title: str, rows: Sequence[dict[str, Any]],
        cells: Sequence[dict[str, str]], notes: list[str]) -> Table:
    heads = list(cells[0])
    best = set()
    for column, key in enumerate(heads, 1):
        means = [row['metrics'][key]['mean'] if key in row['metrics'] else None
                 for row in rows]
        if len({*means} - {None}) > 1:
            top = max(m for m in means if m is not None)
            best |= {(at, column) for at, m in enumerate(means) if m == top}
    return Table(title, ['detector', *heads],
                 [[row['detector'], *line.values()]
                  for row, line in zip(rows, cells)], notes, frozenset(best))


def _main(row: dict[str, Any], gains: bool) -> dict[str, str]:
    ap, *others = (key for key in row['metrics'] if key not in SIZES)
    return {
        ap: percent(row['metrics'][ap]),
        **({'gain': gain(row['gain'])} if gains else {}),
        **{key: percent(row['metrics'][key]) for key in others},
        'parameters': millions(row['parameters']),
        'FLOPs': (NOTHING if row['flops']['count'] is None else
                  short(row['flops']['count'])),
        'time per image': milliseconds(row['inference']['seconds'])}


def _more(row: dict[str, Any]) -> dict[str, str]:
    count = len(row['work_dirs'])
    return {
        **{key: percent(row['metrics'][key]) for key in SIZES},
        'training step': (NOTHING if row['step_time'] is None else
                          f'{row["step_time"]:.3f} s'),
        'trained': f'{count} times' if count > 1 else 'once'}


def _objects(row: dict[str, Any], gains: bool) -> dict[str, str]:
    found, over = row['objects'], row['gain']
    changes = {key: NOTHING if over is None else str(over[key])
               for key in ('gained', 'lost')}
    return {
        'found': str(found['found']), **(changes if gains else {}),
        'missed': str(found['missed']),
        'wrong': str(sum(found['wrong'].values())),
        **{kind: str(found['wrong'][kind]) for kind in KINDS}}


def class_table(rows: Sequence[dict[str, Any]]) -> Table:
    """AP of each class, largest gain first."""
    compared = [row for row in rows if row['gain']]
    names = list(rows[0]['classes'])
    if compared:
        first = compared[0]['gain']['classes']
        names.sort(key=lambda name: (first[name] is None,
                                     -(first[name] or 0)))
    heads = ['gain' if len(compared) == 1 else f'gain: {row["detector"]}'
             for row in compared]
    return Table(
        'AP of each class', ['class', *(r['detector'] for r in rows), *heads],
        [[name, *(percent(row['classes'][name]) for row in rows),
          *(signed(row['gain']['classes'][name]) for row in compared)]
         for name in names])


def format_report(rows: Sequence[dict[str, Any]],
                  by_class: bool = False) -> str:
    """The report for the terminal, as Markdown: verdict, tables, notes.

    Args:
        rows: from :func:`~crosskd.apps.compare.compare`.
        by_class: whether to add a table with the AP of every class.
    """
    notes = [note for table in tables(rows) for note in table.notes]
    return '\n\n'.join([
        *map(_wrapped, verdict(rows)), format_table(rows, by_class),
        '\n'.join(_wrapped(f'- {note}', '  ') for note in notes)])


def _wrapped(text: str, indent: str = '') -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)


def format_table(found: Sequence[dict[str, Any]],
                 classes: bool = False) -> str:
    """The rows as Markdown tables with aligned columns.

    Args:
        found: the rows.
        classes: whether to add a table with the AP of every class.
    """
    every = tables(found)
    if classes:
        every.append(class_table(found))
    return '\n\n'.join(_markdown(one) for one in every)


def _markdown(table: Table) -> str:
    lines = [[cell.replace('|', r'\|') for cell in line]
             for line in (table.heads, *table.lines)]
    widths = [max(3, *map(len, column)) for column in zip(*lines)]
    texts = [[cell.ljust(width) if column == 0 else cell.rjust(width)
              for column, (cell, width) in enumerate(zip(line, widths))]
             for line in lines]
    rule = ['-' * width if column == 0 else '-' * (width - 1) + ':'
            for column, width in enumerate(widths)]
    return '\n'.join(f'| {" | ".join(line)} |'
                     for line in (texts[0], rule, *texts[1:]))
