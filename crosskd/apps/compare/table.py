"""The figures of every detector, and their table."""
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from . import logs
from .evaluation import METRICS, Result
from .work_dirs import Group

NOTHING = '–'


def rows(groups: Sequence[Group], results: Sequence[Sequence[Result]],
         histories: Sequence[Sequence[list[dict]]]) -> list[dict[str, Any]]:
    """One row a group.

    Args:
        groups: the detectors.
        results: of every member of every group.
        histories: what these logged.

    Returns:
        list: rows as they are saved in ``compare.json``.  A metric has the
        ``values`` of all members, their ``mean`` and their sample standard
        deviation ``std``, which is None for one.
    """
    found = []
    for group, tested, logged in zip(groups, results, histories):
        times = [t for t in map(logs.step_time, logged) if t is not None]
        found.append(dict(
            detector=group.name,
            work_dirs=[str(m.folder) for m in group.members],
            checkpoints=[m.checkpoint.name for m in group.members],
            seeds=[m.seed for m in group.members],
            metrics={key: _spread([r.metrics[key] for r in tested])
                     for key in METRICS},
            classes={name: _spread([r.classes[name] for r in tested])
                     for name in tested[0].classes},
            parameters=tested[0].parameters,
            step_time=round(mean(times), 4) if times else None))
    return found


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = [v for v in values if v is not None]
    return dict(
        values=list(values),
        mean=round(mean(known), 2) if known else None,
        std=round(stdev(known), 2) if len(known) > 1 else None)


def cells(row: dict[str, Any]) -> dict[str, str]:
    """A row's figures as text, by the heads of their columns."""
    count = len(row['work_dirs'])
    return {
        **{key: percent(value) for key, value in row['metrics'].items()},
        'parameters': _millions(row['parameters']),
        'training step': (NOTHING if row['step_time'] is None else
                          f'{row["step_time"]:.3f} s'),
        'trained': f'{count} times' if count > 1 else 'once'
    }


def percent(value: dict[str, Any]) -> str:
    """A metric as text: its mean, and the deviation where there is one."""
    if value['mean'] is None:
        return NOTHING
    spread = '' if value['std'] is None else f' ± {value["std"]:.1f}'
    return f'{value["mean"]:.1f}{spread}'


def _millions(count: int) -> str:
    return f'{count / 1e6:.2f} M'


def format_table(found: Sequence[dict[str, Any]],
                 classes: bool = False) -> str:
    """The rows as a Markdown table.

    Args:
        found: the rows.
        classes: whether a second table has the AP of every class.
    """
    heads = ['detector', *cells(found[0])]
    lines = [[row['detector'], *cells(row).values()] for row in found]
    text = _markdown([heads, *lines])
    if classes:
        heads = ['AP by class', *(row['detector'] for row in found)]
        lines = [[name, *(percent(row['classes'][name]) for row in found)]
                 for name in found[0]['classes']]
        text += '\n\n' + _markdown([heads, *lines])
    return text


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    lines = [[cell.replace('|', r'\|') for cell in line] for line in lines]
    lines.insert(1, ['---'] * len(lines[0]))
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
