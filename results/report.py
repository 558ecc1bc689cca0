"""The tables and figures of docs/results.md, from the records."""
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import matplotlib
from matrix import HERE, TABLES, Table
from store import Records, read

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402

PAGE = HERE.parent / 'docs/results.md'
MARKED = re.compile(r'(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)',
                    re.DOTALL)
COLUMNS = {'AP': 'bbox_mAP', 'AP50': 'bbox_mAP_50', 'AP75': 'bbox_mAP_75',
           'small': 'bbox_mAP_s', 'medium': 'bbox_mAP_m',
           'large': 'bbox_mAP_l'}


def write_report(folder: Path, page: Path = PAGE) -> None:
    """Fill in the marked tables of the page and draw their figures."""
    texts = {}
    for what, tables in TABLES.items():
        records = read(folder / f'{what}.jsonl')
        for table in tables:
            rows = [name for name in table.rows if name in records]
            texts[table.name] = '\nNot measured yet.\n'
            if rows:
                picture = f'results/{table.name}.png'
                texts[table.name] = format_table(
                    what, table, rows, records) + (
                    f'\n![AP of each seed]({picture})\n')
                draw(table, rows, records, page.parent / picture)
    page.write_text(MARKED.sub(
        lambda found: f'{found[1]}{texts[found[2]]}\n{found[3]}',
        page.read_text()))


def format_table(what: str, table: Table, rows: Sequence[str],
                 records: Records) -> str:
    """Means over seeds, gains seed by seed, and what they were measured on."""
    lines = ['', f'| detector | {" | ".join(COLUMNS)} | AP of each seed |',
             '|---' * (len(COLUMNS) + 2) + '|']
    for name in rows:
        seeds = records[name]
        cells = [spread([record[key] for record in seeds.values()
                         if record[key] >= 0]) for key in COLUMNS.values()]
        each = ', '.join(f'{seeds[seed]["bbox_mAP"]:.1f}'
                         for seed in sorted(seeds))
        lines.append(f'| {name} | {" | ".join(cells)} | {each} |')
    gains = [(ahead, behind) for ahead, behind in table.gains
             if ahead in rows and behind in rows]
    if gains:
        lines += ['', '| gain in AP | mean | of each seed |', '|---|---|---|']
    for ahead, behind in gains:
        both = sorted(records[ahead].keys() & records[behind].keys())
        gained = [records[ahead][seed]['bbox_mAP']
                  - records[behind][seed]['bbox_mAP'] for seed in both]
        if gained:
            each = ', '.join(f'{gain:+.1f}' for gain in gained)
            lines.append(f'| {ahead} − {behind} | {spread(gained, "+")} '
                         f'| {each} |')
    return '\n'.join([*lines, '', *measured_on(what, rows, records), ''])


def spread(values: Sequence[float], sign: str = '') -> str:
    """Mean and sample standard deviation, where there are several."""
    if not values:
        return '–'
    text = format(mean(values), f'{sign}.1f')
    return f'{text} ± {stdev(values):.1f}' if len(values) > 1 else text


def measured_on(what: str, rows: Sequence[str],
                records: Records) -> list[str]:
    """Command, seeds, version and machine of all records, each said once."""
    dates: dict[tuple[str, str], set[str]] = {}
    for name in rows:
        for record in records[name].values():
            dates.setdefault((f'crosskd {record["version"]} at '
                              f'{record["commit"]}', record['machine']),
                             set()).add(record['date'])
    seeds = sorted({seed for name in rows for seed in records[name]})
    command = (f'`python results/run.py {what}`, '
               f'seeds {", ".join(map(str, seeds))}')
    return [f'Measured by {command}: {version}, '
            f'{" to ".join(sorted({min(when), max(when)}))}; {machine}.'
            for (version, machine), when in sorted(dates.items())]


def draw(table: Table, rows: Sequence[str], records: Records,
         path: Path) -> None:
    """AP of every row: its seeds as dots, their mean as a bar."""
    figure, axes = plt.subplots(
        figsize=(9, 0.34 * len(rows) + 1), layout='constrained')
    for y, name in enumerate(rows):
        values = [record['bbox_mAP'] for record in records[name].values()]
        axes.barh(y, mean(values), color='lightsteelblue')
        axes.plot(values, [y] * len(values), 'k.')
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set(xlabel='AP on the validation images')
    axes.grid(axis='x', alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
