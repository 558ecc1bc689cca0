"""A hook for the distributed test: every rank writes its own weights."""
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
