"""The first validation batch, tried before a run begins."""
import copy
import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import islice
from typing import Any

import torch
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.evaluation import CocoMetric, VOCMetric
from mmdet.models.detectors import BaseDetector
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import METRICS
from mmengine.runner import Runner, ValLoop
from mmengine.runner.amp import autocast
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from ..compat.mmengine_logging import quiet
from ..data_checks.evaluator import metrics
from ..errors import ConfigValueError
from ..names import did_you_mean
from ..numerics.randomness import untouched_randomness
from .run_checks import check_types
from .trial import first_items, part_of
from .validation_errors import DATA, naming

EVALUATOR = 'val_evaluator'
#: these can compute the figures of a single image
OF_ONE = ((CocoMetric.process, CocoMetric.compute_metrics),
          (VOCMetric.process, VOCMetric.compute_metrics))
#: packages whose hooks do not prepare models
OURS = ('mmengine', 'mmdet', 'crosskd')
IMAGES = 'the first validation images'
BATCH = 2  # images: enough to batch different sizes
MOST = 5  # predictions per image: drawing more would take time


def try_validation(run: Runner, detector: BaseDetector,
                   dataset: Any) -> None:
    """Run a small batch through a whole validation, to find errors early.

    That is: pipeline, prediction, metrics, and the pictures of mmdet's hook.
    Afterwards the run's evaluator is built, and has no results.  Nothing else
    changes: copies of model, metrics and visualizer are used, without the
    visualizer's backends, and the state of the random number generators is
    restored.  No process waits for another one.

    Metrics of mmdet that can compute the figures of a single image do so.
    Validation loops, evaluators and data sets of other kinds than mmengine's
    are skipped, and so are metrics with a folder of their own.  If the
    prediction fails, and a hook of another package acts before the first
    validation, there is only a warning: the hook may prepare the model.

    Args:
        run: the Runner, before its ``train``, with a built validation data
            loader.
        detector: its model.
        dataset: the data set of that loader.

    Raises:
        ValueError: the validation would fail; the message names the key.
    """
    loop = run._val_loop
    cfgs = list(metrics(EVALUATOR, run._val_evaluator))
    if not isinstance(loop, dict) or loop.get('type', ValLoop) not in (
            ValLoop, 'ValLoop', 'mmengine.ValLoop'):
        return
    try:
        _try(run, detector, dataset, cfgs)
    except _CannotPredict as e:
        preparing = _may_prepare(run)
        if not preparing:
            raise
        run.logger.warning(f'{e}. Training continues, because '
                           f'{", ".join(preparing)} may prepare the model')


def _try(run: Runner, detector: BaseDetector, dataset: Any,
         cfgs: Sequence[tuple[str, Any]]) -> None:
    loop, loader = run._val_loop, run._val_dataloader
    # the validation itself says what there is to say
    with untouched_randomness(), torch.no_grad(), quiet(logging.CRITICAL), (
            redirect_stdout(io.StringIO())), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        run._val_evaluator = _built(run, cfgs)
        items = list(islice(first_items(DATA, dataset),
                            min(loader.batch_size or 1, BATCH)))
        if not items:
            return
        with naming('val_dataloader.collate_fn', 'cannot make a batch of '
                    f'{IMAGES}'):
            batch = loader.collate_fn(items)
        samples = _predicted(detector, batch, loop.get('fp16', False),
                             items[0]['data_samples'])
        if not samples:
            return
        meta = getattr(dataset, 'metainfo', None)
        figures = _evaluate(run._val_evaluator, cfgs, batch, samples, meta)
        if figures is not None:
            _check_save_best(run, figures)
        _draw(run, batch, samples, meta)


# -- the model ---------------------------------------------------------------


class _CannotPredict(ConfigValueError):
    """The model fails on the first validation images."""


def _may_prepare(run: Runner) -> list[str]:
    """Hooks of other packages that act before the first validation."""
    return [type(hook).__name__ for hook in run.hooks
            if not _is_ours(hook)
            and any(stage.startswith('before') and 'test' not in stage
                    for stage in hook.get_triggered_stages())]


def _is_ours(hook: Hook) -> bool:
    return type(hook).__module__.partition('.')[0] in OURS


def _predicted(detector: BaseDetector, batch: Any, fp16: bool,
               sample: Any) -> list:
    """The predictions of a copy of the model; empty if it cannot be copied."""
    # a teacher is large, and a student that predicts does without
    shared = getattr(detector, 'teacher', None)
    try:
        model = copy.deepcopy(detector, {id(shared): shared}).eval()
    except Exception:
        return []
    try:
        with autocast(enabled=fp16):
            samples = list(model.val_step(batch))
    except Exception as e:
        with naming(part_of(model, e) or 'model', f'cannot predict on '
                    f'{IMAGES}', sample=sample, kind=_CannotPredict):
            raise
    for sample in samples:
        found = getattr(sample, 'pred_instances', None)
        if found is not None and _are_boxes(found):
            # before training, weights may be uninitialised memory
            fine = found.bboxes.isfinite().all(-1) & found.scores.isfinite()
            sample.pred_instances = found[fine][:MOST] if fine.any() else (
                _whole_image(found, sample))
    return samples


def _are_boxes(found: InstanceData) -> bool:
    """Whether these are (n, 4) boxes with (n, ) scores, all in tensors."""
    return (all(isinstance(x, Tensor) for x in found.values())
            and {'bboxes', 'scores'} <= set(found.keys())
            and found.bboxes.shape[1:] == (4, ) and found.scores.ndim == 1)


def _whole_image(found: InstanceData, sample: Any) -> InstanceData:
    """One detection of the whole image: without any, metrics end early."""
    one = {key: value.new_zeros((1, *value.shape[1:]))
           for key, value in found.items()}
    height, width = sample.get('ori_shape', (1, 1))[:2]
    one['bboxes'] += one['bboxes'].new_tensor([0, 0, width, height])
    one['scores'] += 1
    return InstanceData(**one)


# -- the evaluator -----------------------------------------------------------


def _built(run: Runner, cfgs: Sequence[tuple[str, Any]]) -> Any:
    """Build the evaluator, which reads its files; errors name the metric."""
    for key, cfg in cfgs:
        check_types(key, METRICS, cfg)
    given = run._val_evaluator
    try:
        return run.build_evaluator(_fresh(given))
    except Exception as e:
        failure = e
    # outside the handler, so that this error is raised without a context
    for key, cfg in cfgs:
        if isinstance(cfg, dict):
            with naming(key, 'cannot be built', cfg):
                METRICS.build(copy.deepcopy(cfg))
    with naming(EVALUATOR, 'cannot be built', given):
        raise failure


def _fresh(given: Any) -> Any:
    """Copies of configs, into which building writes; built parts as given."""
    if isinstance(given, (list, tuple)):
        return [_fresh(one) for one in given]
    return copy.deepcopy(given) if isinstance(given, dict) else given


def _evaluate(evaluator: Any, cfgs: Sequence[tuple[str, Any]], batch: Any,
              samples: list, meta: Any) -> list[str] | None:
    """Names of the figures; None if some names are unknown."""
    if type(evaluator).process is not Evaluator.process:
        return None
    plain = [sample.to_dict() if isinstance(sample, BaseDataElement)
             else sample for sample in samples]
    found: list[str] | None = []
    for (key, cfg), metric in zip(cfgs, evaluator.metrics):
        tried = _copied(metric)
        if tried is not None:
            tried.dataset_meta = meta
            with naming(key, f'{type(metric).__name__} cannot take the '
                        f'predictions of {IMAGES}', cfg, plain[0]):
                tried.process(batch, plain)
        own = type(metric).process, type(metric).compute_metrics
        if tried is None or type(evaluator) is not Evaluator or not (
                tried.results) or own not in OF_ONE:
            found = None
            continue
        if isinstance(tried, CocoMetric):
            tried.outfile_prefix = None  # it would write files
            tried.img_ids = [tried.results[0][1]['img_id']]
        with naming(key, f'{type(metric).__name__} cannot evaluate {IMAGES}',
                    cfg):
            names = tried.compute_metrics(tried.results[:1])
        if not names:  # format_only
            found = None
        if found is not None:
            found += [f'{metric.prefix}/{name}' if metric.prefix else name
                      for name in names]
    return found


def _copied(metric: BaseMetric) -> Any:
    """A copy without results; None if it cannot be copied."""
    if hasattr(metric, '__del__'):
        return None  # such as CityScapesMetric's, which removes its folder
    # annotations may be large, and nothing changes them
    read = getattr(metric, '_coco_api', None)
    try:
        copied = copy.deepcopy(metric, {id(read): read})
    except Exception:
        return None
    copied.results = []
    return copied


def _check_save_best(run: Runner, figures: Sequence[str]) -> None:
    """Check that the figure that chooses the best checkpoint exists."""
    if any('after_val_epoch' in hook.get_triggered_stages()
           for hook in run.hooks if not _is_ours(hook)):
        return  # it may add figures
    for hook in run.hooks:
        if not isinstance(hook, CheckpointHook) or not hook.save_best:
            continue
        for name in hook.key_indicators:
            if name != 'auto' and name not in figures:
                raise ConfigValueError(
                    f'default_hooks.checkpoint.save_best={name!r}: '
                    f'{EVALUATOR} has no such figure'
                    f"{did_you_mean(name, figures)}; expected 'auto' or one "
                    f'of {", ".join(figures)}')


# -- pictures ----------------------------------------------------------------


def _draw(run: Runner, batch: Any, samples: list, meta: Any) -> None:
    for hook in run.hooks:
        if not isinstance(hook, DetVisualizationHook) or not (
                hook.draw and _is_ours(hook)):
            continue
        tried = copy.copy(hook)
        tried.show, tried.interval = False, 1
        visualizer = tried._visualizer = copy.copy(hook._visualizer)
        visualizer._vis_backends = {}
        visualizer.dataset_meta = meta
        with naming(_key_of(run, hook), 'draw=True: '
                    f'{type(visualizer).__name__} (visualizer) cannot draw '
                    f'{IMAGES}', sample=samples[0]):
            tried.after_val_iter(run, 0, batch, samples)


def _key_of(run: Runner, hook: Hook) -> str:
    cfg = (run.cfg.get('default_hooks') or {}).get('visualization')
    named = cfg.get('type') if isinstance(cfg, dict) else None
    return ('custom_hooks' if named not in (None, type(hook),
                                            type(hook).__name__)
            else 'default_hooks.visualization')
