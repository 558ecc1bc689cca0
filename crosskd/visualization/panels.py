"""A view of one image as a picture."""
from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .views import SCORES, Boxes, View

WIDTH = 12.0  # inches
DPI = 90
MARGIN = 0.35  # inches above each row of panels
COLOURS = colormaps['tab10'].colors
# of an image that is far from square
FLATTEST, STEEPEST = 0.3, 2.0


def draw(view: View, title: str, score_thr: float) -> np.ndarray:
    """Boxes side by side, and below them a row of heat maps for each map.

    Args:
        view: what is drawn.
        title: above it.
        score_thr: detections below are not drawn.

    Returns:
        np.ndarray: (h, w, 3), RGB, uint8.
    """
    aspect = min(max(view.size[0] / view.size[1], FLATTEST), STEEPEST)
    columns = [len(view.boxes)] + [len(view.levels)] * len(view.maps)
    heights = [MARGIN + aspect * (WIDTH - 1) / n for n in columns]
    # no pyplot: it keeps figures, and a run has a backend of its own
    figure = Figure(figsize=(WIDTH, sum(heights) + 2 * MARGIN), dpi=DPI,
                    layout='constrained')
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title)
    rows = np.atleast_1d(figure.subfigures(
        len(heights), 1, height_ratios=heights))
    colours = _Colours(view.boxes.values())
    panels = rows[0].subplots(1, len(view.boxes), squeeze=False)[0]
    for axes, (whose, boxes) in zip(panels, view.boxes.items()):
        _show(axes, view, view.image)
        _draw_boxes(axes, boxes, colours, whose, score_thr)
    # one scale, so that the two can be compared
    score = _highest(x for name in SCORES for x in view.maps.get(name, ()))
    grey = view.image.mean(-1).astype(np.uint8)
    for row, (name, maps) in zip(rows[1:], view.maps.items()):
        panels = row.subplots(1, len(maps), squeeze=False)[0]
        highest = score if name in SCORES else _highest(maps)
        for axes, heat, stride, extent in zip(
                panels, maps, view.levels, view.extents):
            _show(axes, view, grey)
            drawn = axes.imshow(
                heat, cmap='inferno', vmin=0, vmax=highest, alpha=0.75,
                extent=extent, interpolation='nearest')
            _crop(axes, view)
            axes.set_title(f'stride {stride}', fontsize=8)
        panels[0].set_ylabel(name, fontsize=9)
        row.colorbar(drawn, ax=list(panels), pad=0.01, aspect=12)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


class _Colours:
    """A colour for each name of a class, the same in all panels."""

    def __init__(self, every: Iterable[Boxes]) -> None:
        names = dict.fromkeys(name for boxes in every for name in boxes.names)
        self._of = {name: COLOURS[i % len(COLOURS)]
                    for i, name in enumerate(sorted(names))}

    def __getitem__(self, name: str) -> tuple:
        return self._of[name]


def _draw_boxes(axes: Axes, boxes: Boxes, colours: _Colours, whose: str,
                score_thr: float) -> None:
    scores = boxes.scores
    drawn = [i for i in range(len(boxes.names))
             if scores is None or scores[i] >= score_thr]
    for i in sorted(drawn, key=lambda i: 0 if scores is None else scores[i]):
        x, y, right, bottom = boxes.corners[i]
        name = boxes.names[i]
        axes.add_patch(Rectangle(
            (x, y), right - x, bottom - y, fill=False,
            edgecolor=colours[name], linewidth=2))
        text = name if scores is None else f'{name} {scores[i]:.2f}'
        axes.text(x, y, text, fontsize=7, color='white', va='bottom',
                  clip_on=True, bbox=dict(facecolor=colours[name],
                                          edgecolor='none', pad=1))
    count = f'{len(drawn)} boxes'
    if scores is not None:
        count = f'{len(drawn)} of {score_thr:g} or more'
    axes.set_title(f'{whose}: {count}', fontsize=9)


def _show(axes: Axes, view: View, pixels: np.ndarray) -> None:
    height, width = view.size
    axes.imshow(pixels, cmap='gray', vmin=0, vmax=255,
                extent=(0, width, height, 0), interpolation='nearest')
    axes.set(xticks=[], yticks=[])
    _crop(axes, view)


def _crop(axes: Axes, view: View) -> None:
    height, width = view.size
    axes.set(xlim=(0, width), ylim=(height, 0))


def _highest(maps: Iterable[np.ndarray]) -> float:
    """The highest finite value, at least a little more than 0."""
    values = np.concatenate([x.ravel() for x in maps] or [np.zeros(1)])
    return max(float(np.nan_to_num(values, nan=0, posinf=0).max()), 1e-12)
