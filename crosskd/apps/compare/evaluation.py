"""Evaluating a checkpoint once, and keeping the result."""
import copy
import hashlib
import io
import json
import math
import os
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import Runner

from ...errors import describe
from ...version import __version__
from ..progress import Progress
from .data import TestSet, coco_metrics, scope_of
from .speed import measure
from .work_dirs import WorkDir

FOLDER = 'compare'  # in a work directory
# keys of a config's metric that change the AP
KEPT = ('proposal_nums', 'sort_categories')
METRICS = {
    'AP': 'bbox_mAP', 'AP50': 'bbox_mAP_50', 'AP75': 'bbox_mAP_75',
    'AP small': 'bbox_mAP_s', 'AP medium': 'bbox_mAP_m',
    'AP large': 'bbox_mAP_l'
}


@dataclass(frozen=True)
class Result:
    """The test result of one detector.

    Attributes:
        metrics: AP in percent by :data:`METRICS`; None if no object has that
            size.
        classes: AP in percent by class.
        parameters: number of parameters, without those only for training.
        inference, flops: from :func:`~crosskd.apps.compare.speed.measure`.
        predictions: file with all detections, in COCO format.
    """
    metrics: dict[str, float | None]
    classes: dict[str, float | None]
    parameters: int
    inference: dict[str, Any]
    flops: dict[str, Any]
    predictions: Path

    def every_box(self) -> list[dict]:
        """All detections, in COCO format."""
        return json.loads(self.predictions.read_text())

    def boxes(self, score: float) -> dict[Any, list[dict]]:
        """The detections with a higher score, by image id."""
        found: dict[Any, list[dict]] = {}
        for box in self.every_box():
            if box['score'] > score:
                found.setdefault(box['image_id'], []).append(box)
        return found


def evaluate(work_dir: WorkDir, data: TestSet) -> Result:
    """Evaluate a checkpoint on its config's test set.

    The result is kept in the folder ``compare/`` of the work directory, and
    read from there until checkpoint, config or annotations change.

    Raises:
        RuntimeError: the test failed.
    """
    folder = work_dir.folder / FOLDER
    kept, predictions = folder / 'result.json', folder / 'predictions.json'
    key = _key(work_dir, data)
    content = _read(kept, key)
    if content is not None and predictions.is_file():
        _say(f'{work_dir.folder}: {work_dir.checkpoint.name} is already '
             'evaluated')
    else:
        _say(f'{work_dir.folder}: evaluating {work_dir.checkpoint.name}')
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            content = dict(key=key, **_test(work_dir, data, Path(scratch)))
            kept.unlink(missing_ok=True)
            found = Path(scratch, 'predictions.bbox.json')
            os.replace(found, predictions)
            new = Path(scratch, kept.name)
            new.write_text(json.dumps(content))
            os.replace(new, kept)
    return Result(content['metrics'], content['classes'],
                  content['parameters'], content['inference'],
                  content['flops'], predictions)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _key(work_dir: WorkDir, data: TestSet) -> dict[str, Any]:
    """Everything that a result depends on."""
    state = work_dir.checkpoint.stat()
    cfg = work_dir.cfg
    text = json.dumps([cfg.model.to_dict(), cfg.test_dataloader.to_dict()],
                      sort_keys=True, default=str)
    return dict(
        checkpoint=work_dir.checkpoint.name, size=state.st_size,
        modified=state.st_mtime_ns, annotations=data.digest,
        classes=list(data.classes),
        config=hashlib.sha256(text.encode()).hexdigest(),
        crosskd=__version__, has=['inference', 'flops'])


def _read(file: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return content if content.get('key') == key else None


def _test(work_dir: WorkDir, data: TestSet, scratch: Path) -> dict[str, Any]:
    try:
        runner = _runner(_config(work_dir, data, scratch))
        runner.register_hook(_SaysProgress(str(work_dir.folder)))
        with redirect_stdout(io.StringIO()):  # pycocotools' own table
            measured = runner.test()
            speed = measure(runner)
    except Exception as e:
        raise RuntimeError(
            f'{work_dir.folder}: the test of {work_dir.checkpoint.name} '
            f'failed: {describe(e)}') from e
    measured = {key.partition('/')[2]: value
                for key, value in measured.items()}
    model = runner.model
    deployed = model.state_dict().keys()
    return dict(
        # mmdet gives no AP if nothing was detected
        metrics={column: _percent(measured.get(key, 0.0))
                 for column, key in METRICS.items()},
        classes={name: _percent(measured.get(f'{name}_precision', 0.0))
                 for name in data.names.values()},
        parameters=sum(p.numel() for name, p in model.named_parameters()
                       if name in deployed),
        **speed)


def _config(work_dir: WorkDir, data: TestSet, scratch: Path) -> Config:
    cfg = copy.deepcopy(work_dir.cfg)
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        theirs, *_ = coco_metrics(cfg)
    truth = scratch / 'annotations.json'
    truth.write_text(json.dumps(data.content))
    cfg.test_evaluator = dict(
        type='mmdet.CocoMetric', ann_file=str(truth), metric='bbox',
        classwise=True, outfile_prefix=str(scratch / 'predictions'),
        **{key: theirs[key] for key in KEPT if key in theirs})
    cfg.test_dataloader.dataset = dict(
        type='mmdet.EveryImage', dataset=cfg.test_dataloader.dataset,
        numbered=data.numbered)
    cfg.update(
        load_from=str(work_dir.checkpoint), resume=False, launcher='none',
        work_dir=str(scratch), log_level='WARNING',
        # loggers and visualizers are kept by their names
        experiment_name=scratch.name,
        visualizer=dict(type='mmdet.DetLocalVisualizer', name=scratch.name))
    return cfg


def _runner(cfg: Config) -> Runner:
    """A Runner as the test tool makes it."""
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def _percent(value: float) -> float | None:
    # COCO gives -1, mmdet NaN, if there is no object
    if value < 0 or math.isnan(value):
        return None
    return round(100 * float(value), 1)


class _SaysProgress(Hook):
    """Shows how many batches are done."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._progress: Progress | None = None

    def after_test_iter(self, runner: Runner, batch_idx: int,
                        *args: Any, **kwargs: Any) -> None:
        if self._progress is None:
            self._progress = Progress(
                f'evaluating {self._name}', len(runner.test_dataloader),
                'batches')
        self._progress.at(batch_idx + 1)
