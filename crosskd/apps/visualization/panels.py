"""Drawing the view of one image as a picture."""
from collections.abc import Iterable
from textwrap import fill

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .views import SCORES, Boxes, View

DPI = 90
# in inches; rows have a margin above, the figure one on the left for names
# and one on the right for scales
WIDTH, ABOVE, LEFT, RIGHT, GAP = 12.0, 0.3, 0.35, 0.75, 0.08
# limits of height / width of an image
FLATTEST, STEEPEST = 0.3, 2.0
COLOURS = colormaps['tab10'](range(10))
HEAT = colormaps['inferno']
OPAQUE = 0.75  # a heat map over its image
LONGEST = 24  # letters per line in the name of a row
NEAR_THE_TOP = 0.07  # of the height; above it, a name is inside its box


def draw(view: View, title: str, score_thr: float) -> np.ndarray:
    """Draw boxes side by side, and below them a row of heat maps per map.

    Args:
        view: the view of the image.
        title: of the picture.
        score_thr: detections with a lower score are not drawn.

    Returns:
        np.ndarray: (h, w, 3), RGB, uint8.
    """
    page = _Page(view)
    page.figure.suptitle(title, y=1 - 0.1 / page.height, va='top')
    names = dict.fromkeys(sorted(
        name for boxes in view.boxes.values() for name in boxes.names))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    for column, (whose, boxes) in enumerate(view.boxes.items()):
        axes = page.panel(0, column, view.image)
        _draw_boxes(axes, boxes, colours, whose, score_thr)
    # one scale, so that the two can be compared
    score = _highest(x.values for name in SCORES
                     for x in view.maps.get(name, ()))
    grey = view.image.mean(-1).astype(np.uint8)
    for row, (name, maps) in enumerate(view.maps.items(), 1):
        highest = score if name in SCORES else _highest(
            heat.values for heat in maps)
        for column, heat in enumerate(maps):
            axes = page.panel(row, column, grey)
            axes.set_title(f'stride {heat.stride:g}', fontsize=8, pad=3)
            _draw_heat(axes, heat.values, heat.extent, highest)
            axes.set(xlim=(0, view.size[1]), ylim=(view.size[0], 0))
        page.name(row, name)
        page.scale(row, len(maps), highest)
    page.canvas.draw()
    return np.asarray(page.canvas.buffer_rgba())[..., :3].copy()


class _Page:
    """A figure with rows of panels, all of one size.

    Positions are computed here, because matplotlib's layouts take longer than
    all the drawing.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        columns = max(len(view.boxes), 3, *map(len, view.maps.values()))
        aspect = view.size[0] / view.size[1]
        self._w = (WIDTH - LEFT - RIGHT) / columns - GAP
        self._h = self._w * min(max(aspect, FLATTEST), STEEPEST)
        rows = 1 + len(view.maps)
        self.height = rows * (self._h + ABOVE) + 2 * GAP + ABOVE
        # no pyplot: it keeps figures, and the run may use another backend
        self.figure = Figure(figsize=(WIDTH, self.height), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)

    def _add(self, left: float, row: int, width: float) -> Axes:
        top = ABOVE + (row + 1) * (self._h + ABOVE) + GAP
        return self.figure.add_axes((
            left / WIDTH, 1 - top / self.height, width / WIDTH,
            self._h / self.height))

    def panel(self, row: int, column: int, pixels: np.ndarray) -> Axes:
        """Axes with the image, in pixels of the file."""
        axes = self._add(LEFT + column * (self._w + GAP), row, self._w)
        height, width = self._view.size
        axes.imshow(pixels, cmap='gray', vmin=0, vmax=255,
                    extent=(0, width, height, 0), interpolation='nearest')
        axes.set(xticks=[], yticks=[])
        return axes

    def name(self, row: int, text: str) -> None:
        """Write the name of a row beside it."""
        middle = ABOVE + row * (self._h + ABOVE) + GAP + ABOVE + self._h / 2
        lines = fill(text, LONGEST)
        self.figure.text((0.12 + 0.05 * lines.count('\n')) / WIDTH,
                         1 - middle / self.height, lines, rotation=90,
                         ha='center', va='center', fontsize=9)

    def scale(self, row: int, columns: int, highest: float) -> None:
        """Draw the colour scale of a row with ``columns`` panels."""
        axes = self._add(LEFT + columns * (self._w + GAP) + GAP, row, 0.12)
        self.figure.colorbar(
            ScalarMappable(Normalize(0, highest), HEAT), cax=axes)
        axes.tick_params(labelsize=8)


def _draw_boxes(axes: Axes, boxes: Boxes, colours: dict[str, np.ndarray],
                whose: str, score_thr: float) -> None:
    scores = boxes.scores
    drawn = [i for i in range(len(boxes.names))
             if scores is None or scores[i] >= score_thr]
    top = axes.get_ylim()[0] * NEAR_THE_TOP
    for i in sorted(drawn, key=lambda i: 0 if scores is None else scores[i]):
        x, y, right, bottom = boxes.corners[i]
        name = boxes.names[i]
        axes.add_patch(Rectangle(
            (x, y), right - x, bottom - y, fill=False,
            edgecolor=colours[name], linewidth=2))
        axes.text(max(x, 0), max(y, 0),
                  name if scores is None else f'{name} {scores[i]:.2f}',
                  fontsize=7, color='white', clip_on=True,
                  va='top' if y < top else 'bottom',
                  bbox=dict(facecolor=colours[name], edgecolor='none', pad=1))
    those = '' if scores is None else f' (score ≥ {score_thr:g})'
    axes.set_title(f'{whose}: {len(drawn)}{those}', fontsize=9, pad=3)


def _draw_heat(axes: Axes, heat: np.ndarray, extent: tuple[float, ...],
               highest: float) -> None:
    """Draw a map over an image; it is 0 far from any location."""
    left, right, bottom, top = extent
    rows, columns = heat.shape
    axes.imshow(np.pad(heat, ((0, 1), (0, 1))), cmap=HEAT, vmin=0,
                vmax=highest, alpha=OPAQUE, interpolation='nearest', extent=(
                    left, right + (right - left) / columns,
                    bottom + (bottom - top) / rows, top))


def _highest(maps: Iterable[np.ndarray]) -> float:
    """The highest finite value, at least a little more than 0."""
    values = np.concatenate([np.zeros(1), *(x.ravel() for x in maps)])
    return max(float(np.nan_to_num(values, nan=0, posinf=0).max()), 1e-12)
