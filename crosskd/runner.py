"""mmengine's Runner as ``tools/train.py`` uses it: nothing lost, all said."""
from pathlib import Path

from mmengine import runner
from mmengine.hooks import CheckpointHook
from mmengine.visualization import Visualizer
from torch import nn

from .activation_checkpointing import prepare_checkpointing
from .data_checks import check_classes, check_data
from .detectors.base import DistilledSingleStageDetector
from .hooks import StateBesideHook
from .resuming import choose_checkpoint, on_all_ranks


class Runner(runner.Runner):
    """mmengine's Runner for training, stricter in three ways.

    - Model, teacher and data are built and checked before anything but the
      log is written into the work directory.
    - A resumed run repeats the randomness of an uninterrupted one
      (:class:`~crosskd.hooks.RepeatableEpochsHook`).
    - ``resume`` without a file passes over checkpoints that cannot be read,
      such as one that was being written when the machine went down.

    Raises:
        FileNotFoundError, TypeError, ValueError: what is configured cannot be
            trained; the message names the key, what was found and what was
            expected.
    """

    _prepared: nn.Module | None = None
    _load_from: str | None

    def build_visualizer(self, visualizer=None) -> Visualizer:
        """Check everything: mmengine writes the config down next."""
        try:
            self._prepare()
        except Exception as e:
            wrong = _what_is_wrong(e)
            if wrong is e and wrong.__traceback__ is not None:
                raise  # not about the config: its history matters
            raise wrong from None
        return super().build_visualizer(visualizer)

    def _prepare(self) -> None:
        start = self.cfg.get('load_from')
        if start and '://' not in start and not (
                Path(start).expanduser().is_file()):
            raise FileNotFoundError(
                f'load_from={start!r}: no such file (looked from '
                f'{Path.cwd()}); expected the path or URL of a checkpoint')
        # in mmengine's order, which the random weights depend on
        model = self.cfg.model
        if self.cfg.get('data_preprocessor') is not None:
            model.setdefault('data_preprocessor', self.cfg.data_preprocessor)
        model = self.build_model(model)
        prepare_checkpointing(model, self.cfg.get('activation_checkpointing'))
        if isinstance(model, DistilledSingleStageDetector):
            model.join_teacher()
        for part in ('train', 'val'):
            key = f'{part}_dataloader'
            loader = getattr(self, f'_{key}')
            if not isinstance(loader, dict):
                continue
            check_data(key, loader.get('dataset'))
            loader = self.build_dataloader(
                loader,
                seed=self.seed,
                diff_rank_seed=self._randomness_cfg.get(
                    'diff_rank_seed', False))
            check_classes(key, loader.dataset, model)
            setattr(self, f'_{key}', loader)
        self._prepared = model

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model, or return the one that was checked."""
        prepared, self._prepared = self._prepared, None
        return super().build_model(model) if prepared is None else prepared

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """Register hooks, and the one that makes epochs repeatable."""
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(dict(type='RepeatableEpochsHook'))
        self.register_hook(StateBesideHook())
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
        on_all_ranks(super().load_or_resume, f'{option}={self._load_from!r}')


def _what_is_wrong(error: Exception) -> Exception:
    """The error as a user can read it, where it is about what is configured.

    Registries wrap an error once for each level they build; what this package
    says about its own keys is the whole story, and needs no traceback.
    """
    root: BaseException = error
    while root.__context__ is not None and (
            root.__cause__ is not None or not root.__suppress_context__):
        root = root.__context__
    where = _raised_in(root)
    if where.startswith('crosskd.') and isinstance(
            root, (FileNotFoundError, TypeError, ValueError)):
        return root.with_traceback(None)
    if where.startswith('mmengine.registry') and isinstance(root, KeyError):
        return ValueError(f'config: {root.args[0]}')  # a type nobody knows
    return error


def _raised_in(error: BaseException) -> str:
    """The module whose code raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get('__name__', '') if trace else ''
