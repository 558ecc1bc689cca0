"""Random numbers that are the same in a resumed run."""
import copy
from functools import partial
from typing import Any

import numpy as np
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed

from ...detectors.unwrapping import unwrapped
from .not_repeated import what_is_not_repeated

MAX_SEED = 2**32  # numpy's
KEY = 'module_attributes'  # in checkpoints
Attributes = dict[str, dict[str, Any]]


@HOOKS.register_module()
class RepeatableEpochsHook(Hook):
    """Seed each epoch by the run's seed and the number of the epoch.

    mmengine's checkpoints have no state of random number generators, so a
    resumed run would flip and crop other images than an uninterrupted one.
    With this hook both end with the same weights, bit by bit if the
    arithmetic is deterministic.  The ``DistillationRunner`` adds it.

    Example config, for other Runners:
    ``custom_hooks=[dict(type='RepeatableEpochsHook')]``.

    The workers of the training data loader are restarted in every epoch,
    persistent or not, because the state of their generators cannot be read.
    Every worker has another seed in each process and in each epoch.

    Some modules keep a state in plain attributes (``DropBlock`` counts its
    steps, ``DDODHead`` the positives of each level, ``BatchSyncRandomResize``
    keeps its size).  Attributes that have changed are saved in the
    checkpoint, under ``module_attributes``, and set when a run resumes.

    When training begins, there is a warning for each thing that cannot be
    repeated (runs counted in iterations, checkpoints inside an epoch, …).
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._built_with: int | None = None
        self._at_first: Attributes | None = None
        self._resumed: Attributes = {}

    def before_run(self, runner: Runner) -> None:
        """Remember the seed that the samplers were built with."""
        self._built_with = runner.seed

    def before_train(self, runner: Runner) -> None:
        """Seed the samplers like the run; warn of what is not repeated."""
        # a run without a seed takes that of the checkpoint
        loader = runner.train_dataloader
        samplers: list[Any] = [
            loader.sampler, getattr(loader.batch_sampler, 'sampler', None)]
        for sampler in samplers:
            if hasattr(sampler, 'seed') and sampler.seed == self._built_with:
                sampler.seed = runner.seed
        for warning in what_is_not_repeated(runner):
            runner.logger.warning(warning)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process and the workers of this epoch."""
        if self._at_first is None:  # after the hooks have set theirs
            self._at_first = _attributes(runner)
            modules = dict(unwrapped(runner.model).named_modules())
            for name in self._resumed.keys() & modules.keys():
                modules[name].__dict__.update(self._resumed[name])
        loader = runner.train_dataloader
        diff_rank_seed = runner._randomness_cfg.get('diff_rank_seed', False)
        # workers add their own number, and that of the process, to the seed;
        # main processes with seeds of their own come after all workers
        workers = loader.num_workers * runner.world_size
        before = workers if diff_rank_seed else 0
        stride = max(workers, before + runner.world_size)
        # with diff_rank_seed, the runner's seed already includes the rank
        first = runner.seed - runner.rank * bool(diff_rank_seed)
        seed = (first + runner.epoch * stride) % (MAX_SEED - stride)
        set_random_seed(seed + before, diff_rank_seed=diff_rank_seed)
        start_worker = loader.worker_init_fn
        if isinstance(start_worker, partial) and (
                'seed' in start_worker.keywords):
            loader.worker_init_fn = partial(start_worker, seed=seed)
        loader._iterator = None  # of persistent workers

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Save the plain attributes of modules that have changed."""
        changed = {}
        for name, now in _attributes(runner).items():
            before = (self._at_first or {}).get(name, now)
            differ = {k: v for k, v in now.items()
                      if k not in before or before[k] != v}
            if differ:
                changed[name] = differ
        if changed:
            checkpoint[KEY] = changed

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read these attributes if the run is resumed."""
        if runner._resume:
            self._resumed = checkpoint.get(KEY, {})


def _attributes(runner: Runner) -> Attributes:
    """Plain attributes of all modules of the model, as they are now."""
    return {
        name: {
            key: copy.deepcopy(value) for key, value in vars(module).items()
            if key != 'training' and _is_plain(value)
        } for name, module in unwrapped(runner.model).named_modules()
    }


def _is_plain(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str) or (
        isinstance(value, (np.number, np.bool_)))
