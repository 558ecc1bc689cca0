"""Drawing a measurement as stacked bars."""
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure

from .parts import CROSS_HEAD
from .steps import NAMES
from .table import TITLES, WORDS

# the same part has the same colour in every bar
FIRST = ('teacher', 'student', CROSS_HEAD, 'backward', 'optimizer', 'rest')
INSIDE_TEACHER = ('backbone', 'neck', 'head')


def draw(result: dict[str, Any], path: str | Path) -> None:
    """Draw the parts of the three steps.

    Args:
        result: the result of :func:`~crosskd.apps.benchmark.run_benchmark`.
        path: of the picture; its suffix says the format.
    """
    bars = {name: {part: times['median'] for part, times
                   in result[name]['parts'].items()} for name in NAMES}
    bars['teacher'] = dict(teacher=sum(
        bars['teacher'].pop(part, 0.0) for part in INSIDE_TEACHER),
        **bars['teacher'])
    known = [*FIRST, *(part for part in bars['distilled']
                       if part not in FIRST)]
    colours = colormaps['tab20']
    figure = Figure(figsize=(9, 3.4), layout='constrained')
    axes = figure.subplots()
    left = dict.fromkeys(NAMES, 0.0)
    for part in bars['distilled']:  # it has all parts of the others
        lengths = [bars[name].get(part, 0.0) for name in NAMES]
        axes.barh([TITLES[name] for name in NAMES], lengths,
                  left=[left[name] for name in NAMES],
                  color=colours(known.index(part) % colours.N),
                  label=WORDS.get(part, part))
        for name, length in zip(NAMES, lengths):
            left[name] += length
    axes.invert_yaxis()
    height, width = result['size']
    axes.set_xlabel(
        f'milliseconds for {result["batch"]} images of {height}×{width}')
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=120)
