"""The demo's table and picture."""
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from mmcv import imread
from mmdet.registry import MODELS
from pycocotools.mask import iou

from .stages import Run, ap_curve, training_seconds

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402

COLUMNS = {
    'AP': 'coco/bbox_mAP',
    'AP50': 'coco/bbox_mAP_50',
    'AP75': 'coco/bbox_mAP_75'
}
SCORE = 0.3  # detections below are not drawn
IOU = 0.5  # a box that overlaps an object so much has found it
GREEN, RED = 'tab:green', 'tab:red'


def table(runs: Sequence[Run], metrics: dict[str, dict],
          threads: dict[str, int]) -> list[dict]:
    """One row a detector: AP in percent, parameters, training time."""
    rows = []
    for run in runs:
        row: dict = dict(detector=run.name)
        row.update({
            # mmdet gives no AP where nothing was detected
            column: round(100 * metrics[run.name].get(key, 0), 1)
            for column, key in COLUMNS.items()
        })
        row['parameters'] = count_parameters(run)
        row['training'] = (f'{training_seconds(run) / 60:.1f} min on '
                           f'{threads[run.name]} thread(s)')
        rows.append(row)
    return rows


def count_parameters(run: Run) -> int:
    """Parameters of the detector as it is deployed."""
    model = MODELS.build(run.cfg.model)
    return sum(p.numel() for p in model.parameters())


def format_table(rows: Sequence[dict]) -> str:
    """The rows as a Markdown table."""
    lines = ['| ' + ' | '.join(rows[0]) + ' |', '|---' * len(rows[0]) + '|']
    lines += ['| ' + ' | '.join(map(str, row.values())) + ' |' for row in rows]
    return '\n'.join(lines)


def curves(runs: Sequence[Run], path: Path) -> None:
    """AP of every validation during training, as a PNG."""
    figure, axes = plt.subplots(figsize=(7, 4), layout='constrained')
    for run in runs:
        curve = np.array(ap_curve(run)).reshape(-1, 2)
        axes.plot(curve[:, 0], 100 * curve[:, 1], marker='o', label=run.name)
    axes.set(xlabel='epoch', ylabel='AP on the validation images')
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def picture(runs: Sequence[Run], path: Path, num_images: int = 4) -> None:
    """Validation images as annotated and as each detector sees them.

    A row is a detector, so that one looks down a column to compare.

    Args:
        runs: one row each, below the ground truth.
        path: the PNG to write.
        num_images: columns; the first images of the validation set, whatever
            is detected on them.
    """
    dataset = runs[0].cfg.val_dataloader.dataset
    folder = runs[0].root / dataset.data_root
    truth = json.loads((folder / dataset.ann_file).read_text())
    rows = {'ground truth': truth['annotations']}
    for run in runs:
        rows[run.name] = json.loads(
            (run.work_dir / 'test/predictions.bbox.json').read_text())
    figure, grid = plt.subplots(
        len(rows), num_images, squeeze=False, layout='constrained',
        figsize=(2.6 * num_images, 2.7 * len(rows)))
    for (title, boxes), line in zip(rows.items(), grid):
        for image, axes in zip(truth['images'], line):
            pixels = imread(
                str(folder / dataset.data_prefix.img / image['file_name']),
                channel_order='rgb')
            axes.imshow(pixels, interpolation='nearest')
            axes.set(xticks=[], yticks=[])
            mine, objects = ([b for b in some if b['image_id'] == image['id']]
                             for some in (boxes, truth['annotations']))
            _draw(axes, mine, objects, dataset.metainfo.classes)
        line[0].set_ylabel(title, fontsize=15)
    figure.suptitle(
        f'detections with a score above {SCORE}: right class and IoU of '
        f'{IOU} or more in green, others in red', fontsize=13)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def are_right(boxes: Sequence[dict], objects: Sequence[dict]) -> list[bool]:
    """Which boxes of an image find an object, each object once.

    Args:
        boxes: annotations or detections of COCO's form, best first.
        objects: the annotations.

    Returns:
        list: whether an object of the box's class, not found by a box before
        it, overlaps it with an IoU of ``IOU`` or more.
    """
    if not boxes or not objects:
        return [False] * len(boxes)
    overlaps = iou([b['bbox'] for b in boxes], [o['bbox'] for o in objects],
                   [0] * len(objects))
    labels = np.array([o['category_id'] for o in objects])
    left = np.ones(len(objects), bool)
    right = []
    for box, row in zip(boxes, overlaps):
        candidates = np.where(left & (labels == box['category_id']), row, 0)
        best = candidates.argmax()
        right.append(bool(candidates[best] >= IOU))
        left[best] &= not right[-1]
    return right


def _draw(axes: Axes, boxes: Sequence[dict], objects: Sequence[dict],
          classes: Sequence[str]) -> None:
    """The boxes of one image, wrong ones below right ones."""
    boxes = sorted((b for b in boxes if b.get('score', 1) > SCORE),
                   key=lambda b: -b.get('score', 1))
    judged = sorted(zip(are_right(boxes, objects), boxes), key=lambda p: p[0])
    for right, box in judged:
        x, y, width, height = box['bbox']
        color = GREEN if right else RED
        axes.add_patch(Rectangle(
            (x - 0.5, y - 0.5), width, height, fill=False, edgecolor=color,
            linewidth=2.5))
        axes.text(
            x, y, classes[box['category_id'] - 1], fontsize=11,
            color='white', va='bottom', clip_on=True,
            bbox=dict(facecolor=color, edgecolor='none', pad=1))
