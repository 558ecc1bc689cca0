"""Distributed runs without GPUs, on gloo."""
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

    mmengine's own start of distributed runs takes a GPU per rank for granted;
    it leaves a process group alone that exists already.

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
    """Batch norm in the place of synchronised batch norm, which needs GPUs.

    Args:
        model: the model.
        cfg: of the run; its ``sync_bn`` is taken out.
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
