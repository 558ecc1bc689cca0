"""What is built and checked when a training begins, before its first step."""
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
    check_types,
    warn_of_frozen,
)
from .trial import try_pair, try_pipeline


def prepare(run: runner.Runner, detector: Any,
            model_cfg: nn.Module | Mapping) -> None:
    """Check that a Runner can train, and join student and teacher.

    Data sets are built here, and not once more by the Runner.

    Args:
        run: the Runner, before its ``train``.
        detector: its model, which no wrapper for several processes holds yet
            (a wrapper knows no parameter that is added later).
        model_cfg: what the detector was built of.

    Raises:
        FileNotFoundError, TypeError, ValueError: the config cannot be
            trained; the message names the config key, what was found and what
            was expected.
    """
    check_load_from(run._load_from)
    check_types('param_scheduler', PARAM_SCHEDULERS, run.param_schedulers)
    prepare_checkpointing(detector, run.cfg.get('activation_checkpointing'))
    data = [_check_data(run, part, detector) for part in ('train', 'val')]
    check_same_classes(*data)
    # after what is at hand: these may have to be downloaded
    check_pretrained(model_cfg)
    warn_of_frozen(detector, dict(
        model=model_cfg, load_from=run._load_from, resume=run._resume))
    distils = isinstance(detector, DistillationMixin)
    if distils:
        detector.teacher.look_at_data('train_dataloader.dataset', data[0])
        detector.join_teacher(next(iter(built_classes(data[0])), None))
    check_optimizer(detector, run.optim_wrapper)
    if distils:
        # where it will train: some ops are there on one device alone
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
        if part == 'val':  # the training's is built with the training
            run._val_dataloader = built
    try_pipeline(f'{key}.dataset', dataset)
    return dataset
