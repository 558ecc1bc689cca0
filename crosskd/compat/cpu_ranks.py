"""Distributed runs without GPUs, through torch's gloo backend.

What: a process group is made before mmengine makes one, arguments of mmdet's
tools are added, and synchronised batch norm is replaced by batch norm.
Why: mmengine starts distributed runs with a GPU for each rank, and torch's
``SyncBatchNorm`` needs GPUs.
Until: no end in sight; runs without GPUs are there to try things.
"""
import logging

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from torch import nn

# what mmengine would set up for one GPU a rank
WRAPPER = [
    'model_wrapper_cfg.type=MMDistributedDataParallel',
    'model_wrapper_cfg.device_ids=None',
    'model_wrapper_cfg.broadcast_buffers=False'
]


def use_gloo(argv: list[str]) -> None:
    """Let torch's launcher work without GPUs.

    mmengine starts distributed runs with a GPU for each rank; it uses a
    process group that exists already, so one is made here.

    Args:
        argv: arguments of the tool, changed in place.
    """
    launched = '--launcher=pytorch' in argv or any(
        a == '--launcher' and b == 'pytorch'
        for a, b in zip(argv, argv[1:], strict=False))
    if launched and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
        argv += ['--cfg-options', *WRAPPER]


def without_sync_bn(model: nn.Module, cfg: Config) -> nn.Module:
    """Replace synchronised batch norm, which needs GPUs, by batch norm.

    Args:
        model: the model.
        cfg: config of the run; its ``sync_bn`` is removed.

    Returns:
        nn.Module: the model with plain batch norm.
    """
    named = [name for name, module in model.named_modules()
             if isinstance(module, nn.SyncBatchNorm)]
    key = f'model.{named[0]}' if named else 'sync_bn'
    if cfg.pop('sync_bn', None) or named:
        print_log(
            f'{key}: synchronised batch norm needs GPUs; without them each '
            'rank normalises its own part of the batch', 'current',
            logging.WARNING)
    return revert_sync_batchnorm(model)
