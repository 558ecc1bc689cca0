"""The demo's table and picture."""
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from mmcv import imread
from mmdet.registry import MODELS, VISUALIZERS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from .stages import Run, ap_curve, training_seconds

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402

COLUMNS = {
    'AP': 'coco/bbox_mAP',
    'AP50': 'coco/bbox_mAP_50',
    'AP75': 'coco/bbox_mAP_75',
    'AP small': 'coco/bbox_mAP_s',
    'AP medium': 'coco/bbox_mAP_m',
    'AP large': 'coco/bbox_mAP_l'
}
SCORE = 0.3  # detections below are not drawn


def table(runs: Sequence[Run], metrics: dict[str, dict],
          threads: dict[str, int]) -> list[dict]:
    """One row a detector: AP in percent, parameters, training time."""
    rows = []
    for run in runs:
        row: dict = dict(detector=run.name)
        row.update({
            column: round(100 * metrics[run.name][key], 1)
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


def picture(runs: Sequence[Run], path: Path, num_images: int = 4) -> None:
    """Validation images as annotated and as detected, and the AP curves.

    Args:
        runs: curves of all; detections of all but the first, the teacher.
        path: the PNG to write.
        num_images: rows of images, the first of the validation set.
    """
    dataset = runs[0].cfg.val_dataloader.dataset
    folder = runs[0].root / dataset.data_root
    truth = json.loads((folder / dataset.ann_file).read_text())
    columns = {'ground truth': truth['annotations']}
    for run in runs[1:]:
        columns[run.name] = json.loads(
            (run.work_dir / 'test/predictions.bbox.json').read_text())
    visualizer = VISUALIZERS.build(
        dict(type='DetLocalVisualizer', name='demo', line_width=4))
    visualizer.dataset_meta = dict(
        classes=dataset.metainfo.classes,
        palette=[(220, 60, 60), (60, 160, 220), (80, 200, 80),
                 (230, 180, 40), (180, 90, 220)])
    size = 2.6
    figure = plt.figure(
        figsize=(size * (len(columns) + 2), size * num_images),
        layout='constrained')
    grid = figure.add_gridspec(num_images, len(columns) + 2)
    for r, image in enumerate(truth['images'][:num_images]):
        pixels = imread(
            str(folder / dataset.data_prefix.img / image['file_name']),
            channel_order='rgb')
        for c, (title, boxes) in enumerate(columns.items()):
            axes = figure.add_subplot(grid[r, c])
            axes.imshow(_draw(visualizer, pixels, boxes, image['id']))
            axes.set_axis_off()
            if r == 0:
                axes.set_title(title)
    axes = figure.add_subplot(grid[:, len(columns):])
    for run in runs:
        epochs, ap = zip(*ap_curve(run))
        axes.plot(epochs, 100 * np.array(ap), marker='o', label=run.name)
    axes.set(xlabel='epoch', ylabel='AP on the validation images')
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw(visualizer, pixels: np.ndarray, boxes: Sequence[dict],
          image_id: int) -> np.ndarray:
    """One image with its boxes, enlarged so that labels can be read."""
    scale = 3
    pixels = np.repeat(np.repeat(pixels, scale, 0), scale, 1)
    mine = [b for b in boxes if b['image_id'] == image_id]
    xywh = np.array([b['bbox'] for b in mine]).reshape(-1, 4) * scale
    instances = InstanceData(
        bboxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
        labels=np.array([b['category_id'] - 1 for b in mine], dtype=int))
    sample = DetDataSample()
    detected = any('score' in b for b in mine)
    if detected:
        instances.scores = np.array([b['score'] for b in mine])
        sample.pred_instances = instances.to_tensor()
    else:
        sample.gt_instances = instances.to_tensor()
    visualizer.add_datasample(
        'demo', pixels, sample, draw_gt=not detected, draw_pred=detected,
        pred_score_thr=SCORE)
    return visualizer.get_image()
