"""mmengine's Runner, with checks before training and exact resuming."""
from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import RUNNERS
from mmengine import runner
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS
from mmengine.visualization import Visualizer
from torch import nn

from ..compat.cpu_ranks import use_gloo, without_sync_bn
from ..compat.mmengine_checkpoints import restrict_mmengine
from ..compat.mmengine_logging import keep_overviews_off_terminal
from ..detectors.unwrapping import unwrapped
from ..errors import ConfigValueError, for_users
from .hooks import AuxiliaryStateHook, LossSharesHook, RepeatableEpochsHook
from .report import report
from .resuming import choose_checkpoint, on_all_ranks
from .run_checks import check_types


@RUNNERS.register_module()
class DistillationRunner(runner.Runner):
    """mmengine's Runner, with the additions that distillation needs.

    mmdet's own ``tools/train.py``, and every copy of it, builds this Runner
    if the config has ``runner_type = 'DistillationRunner'``.  It takes the
    arguments of mmengine's Runner.

    - Before training, it builds and checks model, teacher, data and
      evaluator.  Until all checks pass, it writes only the log to the work
      directory.
    - The log says what is distilled.  It ends with the results and the next
      commands.  Environment, config and the order of the hooks are only in the
      log file, not on the terminal.
    - It gives the detector the class names of the training data, by which the
      teacher's classes are matched.
    - Channel adapters exist before the optimizer, and are saved and resumed.
    - A resumed run repeats the randomness of an uninterrupted one
      (:class:`~crosskd.engine.hooks.RepeatableEpochsHook`).
    - ``resume`` without a file skips checkpoints that cannot be read, such as
      one that was being written during a power failure.
    - Checkpoints are loaded through the allow-list: no code in them is run.
    - Several processes without GPUs communicate through gloo.

    mmdet's test tool builds the same Runner from the same config, but must not
    open the teacher or the training data.  Only the call of :meth:`train`,
    :meth:`val` or :meth:`test` shows which tool it is.  Two things that
    mmengine's Runner does on construction are therefore delayed until that
    call: writing the config (to files, and to services such as Weights &
    Biases), and wrapping the model for several processes, because a wrapper
    ignores adapters that are added later.

    Raises:
        FileNotFoundError, TypeError, ValueError: the config cannot be
            trained; the message names the config key, what was found and what
            was expected.

    Example config::

        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        runner_type = 'DistillationRunner'
    """

    model: Any
    _load_from: str | None
    _model_cfg: nn.Module | Mapping
    _is_prepared = False
    _has_begun = False

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'DistillationRunner':
        """Build a Runner from a config.

        Raises:
            ValueError: the config has a ``strategy``, which only mmengine's
                FlexibleRunner reads.
        """
        if cfg.get('strategy') is not None:
            raise ConfigValueError(
                f"strategy={cfg['strategy']!r}: runner_type='"
                f"{cls.__name__}' has no strategies; only mmengine's "
                'FlexibleRunner has them. Remove strategy, and use several '
                'GPUs through --launcher')
        return super().from_cfg(cfg)

    # -- what mmengine's Runner does when it is built ------------------------

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the processes; without GPUs they communicate by gloo."""
        use_gloo(self.cfg, self.launcher)
        super().setup_env(env_cfg)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger.

        Environment, config and hooks are only in its file.
        """
        logger = super().build_logger(*args, **kwargs)
        keep_overviews_off_terminal(logger)
        return logger

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """Build the visualizer.

        The checks need the logger, and must come before the visualizer gets
        the config, because it writes it.  mmengine's ``__init__`` calls no
        other method between the two.  So this visualizer ignores the config
        until :meth:`dump_config`.
        """
        is_first = not hasattr(self, 'visualizer')
        built = super().build_visualizer(visualizer)
        if is_first:
            built.__dict__['add_config'] = lambda *args, **kwargs: None
        return built

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model; errors about its config are shown alone."""
        self._model_cfg = model
        with for_users():
            built = super().build_model(model)
        if self.distributed and not torch.cuda.is_available():
            built = without_sync_bn(built, self.cfg)
        return built

    def wrap_model(self, model_wrapper_cfg: dict | None,
                   model: nn.Module) -> nn.Module:
        """Wrap the model, or delay that until a run begins."""
        if model is self.model and self._waits:
            return model.to(get_device())
        return super().wrap_model(model_wrapper_cfg, model)

    def register_hooks(self, default_hooks: Any = None,
                       custom_hooks: Any = None) -> None:
        """Register the given hooks, and those that crosskd always adds."""
        check_types('default_hooks', HOOKS, default_hooks)
        check_types('custom_hooks', HOOKS, custom_hooks)
        super().register_hooks(default_hooks, custom_hooks)
        # objects: a project's own registries may not have their names
        for kind in (RepeatableEpochsHook, AuxiliaryStateHook, LossSharesHook):
            if not any(isinstance(h, kind) for h in self.hooks):
                self.register_hook(kind())
        if any(isinstance(h, CheckpointHook) and h.max_keep_ckpts == 1
               for h in self.hooks):
            self.logger.warning(
                'default_hooks.checkpoint.max_keep_ckpts=1: mmengine removes '
                'the old checkpoint before it writes the new one. If the run '
                'is killed in between, both are lost; 2 is safe')

    def dump_config(self) -> None:
        """Write the config, or delay that until a run begins."""
        if self._waits:
            return
        if self.visualizer.__dict__.pop('add_config', None) and self.cfg:
            self.visualizer.add_config(self.cfg)
        super().dump_config()

    @property
    def _waits(self) -> bool:
        return (not self._has_begun and self._train_dataloader is not None
                and isinstance(self.model, BaseDetector))

    # -- when a run begins ---------------------------------------------------

    def prepare_training(self) -> None:
        """Check all that a training needs, and join student and teacher.

        :meth:`train` calls this if you have not.

        Raises:
            FileNotFoundError, TypeError, ValueError: the config cannot be
                trained.
        """
        if self._is_prepared or self._train_dataloader is None:
            return
        # mmdet's data sets warn about missing packages on import
        from .before_training import prepare
        with for_users():
            prepare(self, unwrapped(self.model), self._model_cfg)
        self._is_prepared = True

    def train(self) -> nn.Module:
        """Train, after :meth:`prepare_training`; the log ends with a report.
        """
        self.prepare_training()
        self._begin()
        model = super().train()
        self.logger.info(report(self))
        return model

    def val(self) -> dict:
        """Validate."""
        self._begin()
        return super().val()

    def test(self) -> dict:
        """Test."""
        self._begin()
        return super().test()

    def _begin(self) -> None:
        """Do what was delayed until a run begins."""
        restrict_mmengine()
        waited, self._has_begun = self._waits, True
        if waited:
            self.model = self.wrap_model(
                self.cfg.get('model_wrapper_cfg'), self.model)
            self.dump_config()

    def load_or_resume(self) -> None:
        """Load or resume, all processes from the same file, or none.

        Raises:
            ValueError: there are checkpoints to resume from, but none can be
                read.
        """
        if self._resume and not self._has_loaded and not self._load_from:
            self._load_from = choose_checkpoint(self.work_dir)
            if self._load_from is None:
                self.logger.warning(
                    f'--resume: there is no checkpoint in {self.work_dir}; '
                    'training starts from the beginning')
                return
            self.logger.info(f'Resumed from {self._load_from}')
        option = '--resume' if self._resume else 'load_from'
        load = super().load_or_resume
        with for_users():
            on_all_ranks(load, f'{option}={self._load_from!r}')
