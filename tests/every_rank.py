"""A hook for the distributed test: every rank writes its own weights."""
from pathlib import Path

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook


@HOOKS.register_module()
class SaveEveryRank(Hook):

    def after_train(self, runner):
        torch.save(
            dict(state_dict=runner.model.module.state_dict()),
            Path(runner.work_dir, f'rank_{get_rank()}.pth'))
