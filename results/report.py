"""The tables and figures of docs/results.md, from the records."""
import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import matplotlib
from matrix import HERE, METHODS, SUMMARY, TABLES, Comparison, Table
from store import Records, read

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402

PAGE = HERE.parent / 'docs/results.md'
MARKED = re.compile(r'(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)',
                    re.DOTALL)
TIMES = HERE / 'speed/methods.json'
NO_BREAK = '\u00a0'  # space
COLOURS = dict(zip(
    ('alone', 'plain imitation', 'CrossKD', 'CrossKD + PKD', 'PKD', 'SDD: map',
     'CWD', 'MGD', 'FGD'), plt.get_cmap('tab10').colors))
COLUMNS = {'AP': 'bbox_mAP', 'AP50': 'bbox_mAP_50', 'AP75': 'bbox_mAP_75',
           'small': 'bbox_mAP_s', 'medium': 'bbox_mAP_m',
           'large': 'bbox_mAP_l'}


def write_report(folder: Path, page: Path = PAGE) -> None:
    """Fill in the marked tables of the page and draw its figure."""
    records = {what: read(folder / f'{what}.jsonl') for what in TABLES}
    rows = [row for row in SUMMARY if row.alone in records[row.images]
            and row.teacher in records[row.images]]
    texts = {
        'summary': format_summary(rows, records),
        'measured with': '\n'.join(['', *measured_with(records), ''])
    }
    for what, tables in TABLES.items():
        for table in tables:
            texts[table.name] = format_table(table, records[what])
    page.write_text(MARKED.sub(
        lambda found: f'{found[1]}{texts[found[2]]}\n{found[3]}',
        page.read_text()))
    figures = page.parent / 'results'
    draw(rows, records, figures / 'gains.png')
    if TIMES.is_file():
        draw_time(records,
                  json.loads(TIMES.read_text())['minutes_of_an_epoch'],
                  figures / 'time.png')
    draw_gaps(rows, records, figures / 'gaps.png')


def format_summary(rows: Sequence[Comparison],
                   records: dict[str, Records]) -> str:
    """AP of students alone and of teachers, and gains of each method."""
    lines = ['', f'| student | alone | {" | ".join(METHODS)} | teacher |',
             '|---' * (len(METHODS) + 3) + '|']
    for row in rows:
        of = records[row.images]
        gains = [spread(gained(of, row.methods.get(method), row.alone), '+')
                 .replace(' ', NO_BREAK) for method in METHODS]
        alone, teacher = (f'{mean(aps(of, name).values()):.1f}'
                          for name in (row.alone, row.teacher))
        lines.append(
            f'| {row.title} | {alone} | {" | ".join(gains)} | {teacher} |')
    return '\n'.join([*lines, ''])


def format_table(table: Table, records: Records) -> str:
    """Means over seeds, and gains of students over the one alone."""
    rows = [name for name in table.rows if name in records]
    if not rows:
        return '\nNot measured yet.\n'
    columns = {title: key for title, key in COLUMNS.items()
               if any(record[key] >= 0 for name in rows
                      for record in records[name].values())}
    titles = ' | '.join(['detector', *columns, 'AP of each seed', 'gain'])
    lines = ['', f'| {titles} |', '|---' * (len(columns) + 3) + '|']
    for name in rows:
        cells = [spread([record[key] for record in records[name].values()
                         if record[key] >= 0]) for key in columns.values()]
        each = ', '.join(f'{ap:.1f}' for ap in aps(records, name).values())
        taught = any(each['teacher'] for each in records[name].values())
        gain = spread(gained(records, name, table.alone) if taught else [],
                      '+')
        lines.append(f'| {" | ".join([name, *cells, each, gain])} |')
    return '\n'.join([*lines, ''])


def aps(records: Records, name: str | None) -> dict[int, float]:
    """AP of a detector by seed, in their order."""
    return {seed: record['bbox_mAP']
            for seed, record in sorted(records.get(name or '', {}).items())}


def gained(records: Records, ahead: str | None, behind: str) -> list[float]:
    """Gains of the seeds that both have."""
    ours, theirs = aps(records, ahead), aps(records, behind)
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def spread(values: Sequence[float], sign: str = '') -> str:
    """Mean and sample standard deviation, where there are several."""
    if not values:
        return '–'
    text = format(mean(values), f'{sign}.1f').replace('-', '−')
    return f'{text} ± {stdev(values):.1f}' if len(values) > 1 else text


def measured_with(records: dict[str, Records]) -> list[str]:
    """Seeds, version and machine of all records, each said once."""
    every = [record for some in records.values() for seeds in some.values()
             for record in seeds.values()]
    seeds = ', '.join(map(str, sorted({each['seed'] for each in every})))
    used = sorted({(each['version'], each['machine']) for each in every})
    return [f'Seeds {seeds}; crosskd {version}; {machine}.'
            for version, machine in used]


def draw(rows: Sequence[Comparison], records: dict[str, Records],
         path: Path) -> None:
    """Gains of two methods in every row: seeds as dots, means as bars."""
    figure, axes = plt.subplots(
        figsize=(7.5, 0.45 * len(rows) + 0.8), layout='constrained')
    for shift, method, colour in ((-0.2, 'plain imitation', 'silver'),
                                  (0.2, 'CrossKD', 'mediumseagreen')):
        places = {y + shift: gained(records[row.images],
                                    row.methods.get(method), row.alone)
                  for y, row in enumerate(rows)}
        measured = {y: gains for y, gains in places.items() if gains}
        axes.barh(list(measured), list(map(mean, measured.values())), 0.38,
                  color=colour, label=method)
        for y, gains in measured.items():
            axes.plot(gains, [y] * len(gains), 'k.', markersize=5)
    axes.axvline(0, color='black', linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel='AP gained over the student alone (dots: seeds)')
    axes.grid(axis='x', alpha=0.3)
    axes.legend(loc='lower right')
    figure.savefig(path, dpi=110)
    plt.close(figure)


def curve(records: Records, name: str) -> list[tuple[int, float]]:
    """(epoch, AP) of each validation, means of the seeds."""
    curves = [dict(record['AP_curve'])
              for record in records.get(name, {}).values()]
    return [(epoch, mean(each[epoch] for each in curves))
            for epoch in (curves[0] if curves else ())]


def draw_time(records: dict[str, Records], minutes: dict[str, float],
              path: Path) -> None:
    """AP over processor time: a student a panel, a method a line.

    Without a student that is measured, there is no figure.

    Args:
        records: of all experiments.
        minutes: of processor time that an epoch takes, by detector.
        path: of the figure.
    """
    of = {name: each for some in records.values()
          for name, each in some.items()}
    students = list(dict.fromkeys(
        name.partition(': ')[0] for name in minutes if name in of))
    if not students:
        return
    figure, panels = plt.subplots(
        (len(students) + 1) // 2, 2, squeeze=False, layout='constrained',
        figsize=(9, 1 + 3 * ((len(students) + 1) // 2)))
    for axes, student in zip(panels.flat, students):
        for name, cost in minutes.items():
            of_student, _, method = name.partition(': ')
            if of_student != student:
                continue
            colour = COLOURS[method]
            # the same method, trained longer
            for longer in [each for each in of
                           if each.startswith(f'{student}, ')
                           and each.endswith(f' epochs: {method}')] + [name]:
                points = curve(of, longer)
                axes.plot([epoch * cost for epoch, _ in points],
                          [ap for _, ap in points], '.-', color=colour,
                          label=method if longer == name else None)
        axes.set(title=student, xlabel='minutes of processor time',
                 ylabel='AP, mean over seeds')
        axes.grid(alpha=0.3)
    for axes in panels.flat[len(students):]:
        axes.set_axis_off()
    handles = panels.flat[0].get_legend_handles_labels()
    figure.legend(*handles, loc='outside lower center', ncols=5)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_gaps(rows: Sequence[Comparison], records: dict[str, Records],
              path: Path) -> None:
    """Gains of all methods over how far ahead of the student a teacher is."""
    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout='constrained')
    for method, colour in zip(METHODS, plt.get_cmap('tab10').colors):
        found = []
        for row in rows:
            of = records[row.images]
            gains = gained(of, row.methods.get(method), row.alone)
            if gains:
                gap = (mean(aps(of, row.teacher).values())
                       - mean(aps(of, row.alone).values()))
                found.append((gap, mean(gains)))
        if found:
            axes.plot(*zip(*found), 'o', color=colour, label=method)
    axes.axhline(0, color='black', linewidth=0.8)
    axes.set(xlabel='AP of the teacher minus AP of the student alone',
             ylabel='AP gained, mean over seeds')
    axes.grid(alpha=0.3)
    axes.legend(loc='upper left')
    figure.savefig(path, dpi=110)
    plt.close(figure)
