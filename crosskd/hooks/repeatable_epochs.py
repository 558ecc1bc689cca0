"""Randomness that a resumed run repeats."""
from functools import partial

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed

MAX_SEED = 2**32  # numpy's


@HOOKS.register_module()
class RepeatableEpochsHook(Hook):
    """Let what is random in an epoch depend on the seed and its number alone.

    mmengine's checkpoints hold no state of random number generators, so a
    resumed run would flip and crop other images than an uninterrupted one.
    With this hook both end with the same weights, bit by bit where the
    arithmetic is deterministic.  ``tools/train.py`` of this package adds it.

    The workers of the training data are started anew every epoch, persistent
    or not: how far their generators have come is known to nobody but them.
    Runs counted in iterations (``IterBasedTrainLoop``) are one long epoch: a
    resumed one has the same images again, but not the same augmentation.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process and the workers to come."""
        loader = runner.train_dataloader
        diff_rank_seed = runner._randomness_cfg.get('diff_rank_seed', False)
        # as many numbers an epoch as there are workers on all ranks: workers
        # add their own number, and that of the rank, to their seed
        stride = max(loader.num_workers, 1) * runner.world_size
        # the runner's seed has the rank in it already, where ranks differ
        first = runner.seed - runner.rank * bool(diff_rank_seed)
        seed = (first + runner.epoch * stride) % (MAX_SEED - stride)
        set_random_seed(seed, diff_rank_seed=diff_rank_seed)
        start_worker = loader.worker_init_fn
        if isinstance(start_worker, partial) and (
                'seed' in start_worker.keywords):
            loader.worker_init_fn = partial(start_worker, seed=seed)
        loader._iterator = None  # of persistent workers
