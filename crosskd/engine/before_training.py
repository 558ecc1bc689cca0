"""Building and checking everything before the first training step."""
from collections.abc import Mapping
from functools import partial
from typing import Any

from mmdet.models.detectors import BaseDetector
from mmengine import runner
from mmengine.device import get_device
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from ..checkpoints.pretrained import check_pretrained
from ..compat.activation_checkpointing import prepare_checkpointing
from ..data_checks import built_classes, check_data, check_same_classes
from ..detectors import DistillationMixin
from ..detectors.summary import summary
from .first_validation import try_validation
from .run_checks import (
    built_dataset,
    check_load_from,
    check_loader,
    check_optimizer,
    check_schedules,
    check_types,
    warn_of_frozen,
)
from .trial import try_pair, try_pipeline


def prepare(run: runner.Runner, detector: Any,
            model_cfg: nn.Module | Mapping) -> None:
    """Check that a Runner can train, and join student and teacher.

    The data sets that are built here are those that the Runner uses.

    Args:
        run: the Runner, before its ``train``.
        detector: its model, not yet wrapped for several processes (a wrapper
            ignores parameters that are added later).
        model_cfg: the config that the detector was built from.

    Raises:
        FileNotFoundError, TypeError, ValueError: the config cannot be
            trained; the message names the config key, what was found and what
            was expected.
    """
    check_load_from(run._load_from)
    check_types('param_scheduler', PARAM_SCHEDULERS, run.param_schedulers)
    prepare_checkpointing(detector, run.cfg.get('activation_checkpointing'))
    distils = isinstance(detector, DistillationMixin)
    if distils:
        check_schedules(detector.distillers.schedules.by_loss, run._train_loop)
    data = [_check_data(run, part, detector) for part in ('train', 'val')]
    check_same_classes(*data)
    # after the local files: these may have to be downloaded
    check_pretrained(model_cfg)
    warn_of_frozen(detector, dict(
        model=model_cfg, load_from=run._load_from, resume=run._resume))
    if distils:
        detector.teacher.look_at_data('train_dataloader.dataset', data[0])
        detector.join_teacher(next(iter(built_classes(data[0])), None))
    check_optimizer(detector, run.optim_wrapper)
    if distils:
        # on the device of the training: some ops exist on one device only
        detector.to(get_device())
        try_pair(detector, data[0])
        run.logger.info(summary(detector))
    if data[1] is not None and isinstance(detector, BaseDetector):
        try_validation(run, detector, data[1])


def _check_data(run: runner.Runner, part: str, detector: Any) -> Any:
    key = f'{part}_dataloader'
    loader = getattr(run, f'_{key}')
    loader = check_data(key, loader, detector,
                        run._val_evaluator if part == 'val' else None)
    setattr(run, f'_{key}', loader)
    if loader is None:
        return None
    dataset = built_dataset(loader)
    if isinstance(loader, dict):
        built = check_loader(key, partial(
            run.build_dataloader, loader, run.seed,
            run._randomness_cfg.get('diff_rank_seed', False)))
        if part == 'val':  # that of the training is built later
            run._val_dataloader = built
    try_pipeline(f'{key}.dataset', dataset)
    return dataset
