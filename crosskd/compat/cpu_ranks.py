"""Distributed runs without GPUs, through torch's gloo backend.

What: a process group is made before mmengine makes one, arguments are added to
the command lines of mmdet's tools, and batch norm replaces synchronised batch
norm.
Why: mmengine needs a GPU for each process of a distributed run, and torch's
``SyncBatchNorm`` needs GPUs.
Until: no end in sight; runs without GPUs are for trying things.
"""
import logging

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from torch import nn

# mmengine's own wrapper, without a GPU for each process
WRAPPER = dict(type='MMDistributedDataParallel', device_ids=None,
               broadcast_buffers=False)


def use_gloo(cfg: Config, launcher: str) -> None:
    """Let torch's launcher work without GPUs.

    mmengine gives each process of a distributed run a GPU.  But it uses an
    existing process group, so this function makes one.

    Args:
        cfg: config of the run; its model wrapper is changed.
        launcher: ``'pytorch'``; any other is left to mmengine.
    """
    if launcher == 'pytorch' and not torch.cuda.is_available():
        join_gloo()
        cfg.model_wrapper_cfg = {
            'find_unused_parameters': cfg.get('find_unused_parameters', False),
            **(cfg.get('model_wrapper_cfg') or {}), **WRAPPER}


def join_gloo() -> None:
    """Join the processes that torch's launcher has started."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')


def with_gloo(argv: list[str]) -> list[str]:
    """As :func:`use_gloo`, for a tool that reads its config itself.

    Args:
        argv: arguments of the tool, like those of mmdet's tools.

    Returns:
        list: the same arguments, with additions for the config.
    """
    launched = '--launcher=pytorch' in argv or any(
        a == '--launcher' and b == 'pytorch'
        for a, b in zip(argv, argv[1:], strict=False))
    if not launched or torch.cuda.is_available():
        return argv
    join_gloo()
    return [*argv, '--cfg-options', *(
        f'model_wrapper_cfg.{key}={value}' for key, value in WRAPPER.items())]


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
            'process normalises its own part of the batch', 'current',
            logging.WARNING)
    return revert_sync_batchnorm(model)
