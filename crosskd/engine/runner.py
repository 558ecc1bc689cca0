"""mmengine's Runner with checks before a run, and resuming that repeats it."""
import inspect
from functools import partial
from typing import Any

import torch
from mmengine import runner
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS, PARAM_SCHEDULERS
from mmengine.visualization import Visualizer
from torch import nn

from ..checkpoints.pretrained import check_pretrained
from ..compat.activation_checkpointing import prepare_checkpointing
from ..compat.cpu_ranks import without_sync_bn
from ..data_checks import built_classes, check_data, check_same_classes
from ..detectors import DistillationMixin
from ..detectors.unwrapping import unwrapped
from ..errors import for_users
from .hooks import AuxiliaryStateHook, LossSharesHook, RepeatableEpochsHook
from .resuming import choose_checkpoint, on_all_ranks
from .run_checks import (
    built_dataset,
    check_load_from,
    check_loader,
    check_optimizer,
    check_types,
    warn_of_frozen,
)
from .trial import try_pair, try_pipeline


class Runner(runner.Runner):
    """mmengine's Runner for training, with four additions.

    ``tools/train.py`` uses it.  Arguments as those of mmengine's Runner.

    - Model, teacher and data are built and checked before anything but the
      log is written into the work directory.
    - A detector that is distilled is told the names of the classes of the
      training data, by which its teacher's are matched.
    - A resumed run repeats the randomness of an uninterrupted one
      (:class:`~crosskd.engine.hooks.RepeatableEpochsHook`).
    - ``resume`` without a file skips checkpoints that cannot be read, such as
      one that was being written when the machine went down.

    Raises:
        FileNotFoundError, TypeError, ValueError: the config cannot be
            trained; the message names the config key, what was found and what
            was expected.
    """

    _prepared: nn.Module | None = None
    _load_from: str | None

    def __init__(self, model: nn.Module | dict, work_dir: str, *args: Any,
                 **kwargs: Any) -> None:
        # mmengine keeps some of these only after it has written the config
        self._given = inspect.signature(runner.Runner).bind(
            model, work_dir, *args, **kwargs).arguments
        super().__init__(model, work_dir, *args, **kwargs)

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """Check everything here: mmengine writes the config to a file next."""
        if self._train_dataloader is not None:
            with for_users():
                self._prepare()
        return super().build_visualizer(visualizer)

    def _prepare(self) -> None:
        """Build model and data, and check that they can be trained."""
        check_load_from(self._given.get('load_from'))
        model = self._given['model']
        if isinstance(model, dict):
            preprocessor = self._given.get('data_preprocessor')
            if preprocessor is not None:
                model.setdefault('data_preprocessor', preprocessor)
        # in mmengine's order, which the random weights depend on
        model = self.build_model(model)
        if self.distributed and not torch.cuda.is_available():
            model = without_sync_bn(model, self.cfg)
        detector = unwrapped(model)
        prepare_checkpointing(detector,
                              self.cfg.get('activation_checkpointing'))
        distils = isinstance(detector, DistillationMixin)
        self._check_types()
        data = [self._check_data(part, detector) for part in ('train', 'val')]
        check_same_classes(*data)
        # after what is at hand: these may have to be downloaded
        check_pretrained(self._given['model'])
        warn_of_frozen(detector, self._given)
        if distils:
            detector.teacher.look_at_data('train_dataloader.dataset', data[0])
            detector.join_teacher(next(iter(built_classes(data[0])), None))
        check_optimizer(model, self.optim_wrapper)
        if distils:
            # where it will train: some ops are there on one device alone
            detector.to(get_device())
            try_pair(detector, data[0])
        self._prepared = model

    def _check_types(self) -> None:
        for key, registry in (('default_hooks', HOOKS),
                              ('custom_hooks', HOOKS),
                              ('param_scheduler', PARAM_SCHEDULERS)):
            check_types(key, registry, self._given.get(key))

    def _check_data(self, part: str, model: nn.Module) -> Any:
        key = f'{part}_dataloader'
        loader = getattr(self, f'_{key}')
        loader = check_data(key, loader, model, self._val_evaluator
                            if part == 'val' else None)
        setattr(self, f'_{key}', loader)
        if isinstance(loader, dict):
            check_loader(key, partial(
                self.build_dataloader, loader, self.seed,
                self._randomness_cfg.get('diff_rank_seed', False)))
        if loader is None:
            return None
        dataset = built_dataset(loader)
        try_pipeline(f'{key}.dataset', dataset)
        return dataset

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model, or return the one that was checked."""
        prepared, self._prepared = self._prepared, None
        return super().build_model(model) if prepared is None else prepared

    def register_hooks(self, default_hooks: Any = None,
                       custom_hooks: Any = None) -> None:
        """Register hooks, and those that every run of this package has."""
        super().register_hooks(default_hooks, custom_hooks)
        # built here: a project's own registries may not know their names
        self.register_hook(RepeatableEpochsHook())
        self.register_hook(AuxiliaryStateHook())
        if not any(isinstance(h, LossSharesHook) for h in self.hooks):
            self.register_hook(LossSharesHook())
        if any(isinstance(h, CheckpointHook) and h.max_keep_ckpts == 1
               for h in self.hooks):
            self.logger.warning(
                'default_hooks.checkpoint.max_keep_ckpts=1: mmengine removes '
                'the old checkpoint before it writes the new one, so a run '
                'that is killed in between is lost; 2 is safe')

    def load_or_resume(self) -> None:
        """Load or resume, on all ranks from the same file or on none.

        Raises:
            ValueError: there are checkpoints to resume from, and none of them
                can be read.
        """
        if self._resume and not self._has_loaded and not self._load_from:
            self._load_from = choose_checkpoint(self.work_dir)
            if self._load_from is None:
                self.logger.warning(
                    f'--resume: there is no checkpoint in {self.work_dir}; '
                    'training begins anew')
                return
            self.logger.info(f'Resumed from {self._load_from}')
        option = '--resume' if self._resume else 'load_from'
        load = super().load_or_resume
        with for_users():
            on_all_ranks(load, f'{option}={self._load_from!r}')
