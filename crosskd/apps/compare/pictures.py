"""The first test images, with annotations and with detections."""
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .data import TestSet
from .judging import IOU, Judged
from .work_dirs import Group

SIDE = 2.6  # width of an image in inches
GREEN, RED = 'tab:green', 'tab:red'


def save_picture(groups: Sequence[Group], judged: Sequence[dict],
                 data: TestSet, score: float, path: Path,
                 num_images: int = 4) -> None:
    """Draw test images: one row per detector, one column per image.

    Args:
        groups: one row each, below the ground truth.
        judged: the detections of each, by image id.
        data: the images and annotations.
        score: the threshold of the detections, for the title.
        path: the PNG to write.
        num_images: number of columns, for the first images of the test set.
    """
    numbers = [n for n in data.sizes if n in data.images][:num_images]
    titles = ['ground truth', *(group.name for group in groups)]
    pixels = {n: data.picture(n)[..., ::-1] for n in numbers}
    height = SIDE * max(p.shape[0] / p.shape[1] for p in pixels.values())
    figure = Figure(figsize=(SIDE * len(numbers), (height + 0.1) * len(titles)
                             + 0.3), layout='constrained')
    grid = figure.subplots(len(titles), len(numbers), squeeze=False)
    for number, column in zip(numbers, grid.T):
        truth = [b for b in data.boxes[number] if not b.get('iscrowd')]
        every = [Judged(tuple(truth), tuple(range(len(truth))), len(truth)),
                 *(one[number] for one in judged)]
        for one, axes in zip(every, column):
            axes.imshow(pixels[number], interpolation='nearest')
            axes.set(xticks=[], yticks=[])
            _draw(axes, one, data.names)
    # the width of a letter is about 0.6 of its height; an inch is 72 points
    size = min(15, 72 * height / (0.6 * max(map(len, titles))))
    for title, axes in zip(titles, grid[:, 0]):
        axes.set_ylabel(title, fontsize=size)
    figure.suptitle(
        f'detections with a score above {score}; green: right class and IoU '
        f'of {IOU} or more, red: all others', fontsize=13)
    content = BytesIO()
    figure.savefig(content, dpi=110)
    path.write_bytes(content.getvalue())


def _draw(axes: Axes, judged: Judged, names: dict[Any, str]) -> None:
    """The boxes of one image, wrong ones below right ones."""
    boxes = sorted(zip(judged.found, judged.boxes), key=lambda p: p[0] >= 0)
    for found, box in boxes:
        x, y, width, height = box['bbox']
        color = GREEN if found >= 0 else RED
        axes.add_patch(Rectangle(
            (x - 0.5, y - 0.5), width, height, fill=False, edgecolor=color,
            linewidth=2.5))
        axes.text(
            x, y, names[box['category_id']], fontsize=11, color='white',
            va='bottom', clip_on=True, parse_math=False,
            bbox=dict(facecolor=color, edgecolor='none', pad=1))
