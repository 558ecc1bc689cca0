"""Hooks for the distributed tests."""
import os
import signal
from pathlib import Path

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook


@HOOKS.register_module()
class SaveEveryRank(Hook):

    def after_train(self, runner):
        # the statistics of batch norm are each rank's own, as in mmdet
        weights = {k: v.detach() for k, v in runner.model.named_parameters()}
        torch.save(
            dict(state_dict=weights),
            Path(runner.work_dir, f'rank_{get_rank()}.pth'))


@HOOKS.register_module()
class KillRank1(Hook):

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and runner.iter == 1:
            os.kill(os.getpid(), signal.SIGKILL)
