"""Curves of AP and losses during training."""
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import logs
from .work_dirs import Group

COLUMNS = 3
# a placeholder for the text colour, which the page sets
INK = '#010203'


@dataclass(frozen=True)
class Panel:
    """One quantity of all detectors.

    Attributes:
        title: the quantity.
        x: the unit of the horizontal axis.
        lines: for each detector, by its index, one line for each of its
            trainings: (x, y) pairs.
    """
    title: str
    x: str
    lines: dict[int, list[list[tuple[int, float]]]]


def panels(histories: Sequence[Sequence[list[dict]]]) -> list[Panel]:
    """The panels for the histories of all groups: AP, then losses.

    Args:
        histories: for every group, the log of each of its members.
    """
    counts = {logs.by_epoch(entries) for members in histories
              for entries in members if entries}
    found = [Panel('AP', ' or '.join(
        ['epoch'] * (True in counts) + ['iteration'] * (False in counts)), {
            at: [[(x, 100 * y) for x, y in logs.ap_curve(entries)]
                 for entries in members]
            for at, members in enumerate(histories)})]
    losses = [[logs.loss_curves(entries) for entries in members]
              for members in histories]
    titles = {title: None for members in losses for curves in members
              for title in curves}
    found += [
        Panel(title, 'iteration', {
            at: [curves[title] for curves in members if title in curves]
            for at, members in enumerate(losses)
        }) for title in titles
    ]
    return [panel for panel in found if any(
        any(map(len, lines)) for lines in panel.lines.values())]


def save_png(groups: Sequence[Group], found: Sequence[Panel],
             path: Path) -> None:
    """Draw all panels into one picture."""
    columns = min(COLUMNS, max(len(found), 1))
    lines = max(ceil(len(found) / columns), 1)
    figure = Figure(figsize=(4.2 * columns, 3 * lines + 0.5),
                    layout='constrained')
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(found):]:
        axes.set_axis_off()
    for panel, axes in zip(found, grid.flat):
        _draw(axes, panel)
    handles = grid.flat[0].get_lines()
    known = {line.get_color(): line for line in handles}
    shown = [(known[color(at)], group.name) for at, group in enumerate(groups)
             if color(at) in known]
    if shown:
        figure.legend(*zip(*shown), loc='outside upper left', ncols=3)
    content = BytesIO()
    figure.savefig(content, dpi=110)
    path.write_bytes(content.getvalue())


def svgs(found: Sequence[Panel]) -> Iterator[str]:
    """Each panel as an SVG element in the text colour of the page."""
    for panel in found:
        with rc_context({
                'svg.fonttype': 'none', 'svg.hashsalt': panel.title,
                'text.color': INK, 'axes.labelcolor': INK,
                'axes.edgecolor': INK, 'xtick.color': INK,
                'ytick.color': INK}):
            figure = Figure(figsize=(4.4, 3), layout='constrained')
            _draw(figure.subplots(), panel)
            content = StringIO()
            figure.savefig(content, format='svg', transparent=True,
                           metadata={'Date': None, 'Creator': None})
        yield _as_element(content.getvalue(), panel)


def color(at: int) -> str:
    """The colour of a detector, by its index."""
    red, green, blue, _ = colormaps['tab10'](at % 10)
    return f'#{round(red*255):02x}{round(green*255):02x}{round(blue*255):02x}'


def _draw(axes: Axes, panel: Panel) -> None:
    marker = 'o' if panel.title == 'AP' else ''
    for at, lines in panel.lines.items():
        for line in lines:
            if line:
                xs, ys = np.array(line, float).T
                axes.plot(xs, ys, marker=marker, markersize=3,
                          color=color(at), linewidth=1.4,
                          alpha=1 if len(lines) == 1 else 0.6)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x)
    axes.grid(alpha=0.3)
    tops = [y for lines in panel.lines.values() for line in lines
            for _, y in line if np.isfinite(y)]
    if panel.title != 'AP' and tops and min(tops) > 0 and (
            max(tops) > 100 * min(tops)):
        axes.set_yscale('log')


def _as_element(text: str, panel: Panel) -> str:
    text = text[text.index('<svg '):].replace(INK, 'currentColor')
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.S)
    text = re.sub(r"font: (.*?) [^;\"]*?(?=[;\"])",
                  r'font: \1 inherit', text)
    # as wide as the page allows
    head, rest = text.split('>', 1)
    head = re.sub(r' (width|height|version|xmlns:xlink)="[^"]*"', '', head)
    last = '; '.join(
        f'{line[-1][1]:.3g}' for lines in panel.lines.values()
        for line in lines if line)
    label = f'{panel.title} by {panel.x}; last values: {last}'
    return f'{head} role="img" aria-label="{label}">{rest}'.strip()
