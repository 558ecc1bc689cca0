"""Warnings of differences between a resumed and an uninterrupted run."""
from collections.abc import Iterator

from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

RESUMED = 'a run that is killed and resumed'


def what_is_not_repeated(runner: Runner) -> list[str]:
    """Warnings of what this run cannot repeat when it is resumed.

    Args:
        runner: a Runner before training, with
            :class:`~crosskd.engine.hooks.RepeatableEpochsHook`.

    Returns:
        list[str]: sentences that begin with the config key.
    """
    loop, loader = runner.train_loop, runner.train_dataloader
    by_iteration = isinstance(loop, IterBasedTrainLoop)
    found = []
    if by_iteration:
        found.append(
            f'train_cfg.by_epoch=False: {RESUMED} gets the same images, but '
            'not the same random augmentation; runs counted in epochs repeat '
            'both')
    elif any(isinstance(h, CheckpointHook) and not h.by_epoch
             for h in runner.hooks):
        found.append(
            f'default_hooks.checkpoint.by_epoch=False: {RESUMED} inside an '
            'epoch repeats that epoch from its start, and ends with other '
            'weights; with by_epoch=True it ends with the same')
    if loader.num_workers == 0:
        caches = sorted({type(x).__name__ for x in _transforms(loader)
                         if any('cache' in key for key in vars(x))})
        if caches:
            found.append(
                f'train_dataloader.num_workers=0: {RESUMED} starts with an '
                f'empty cache of {", ".join(caches)}; with workers, every '
                'epoch does')
    found.extend(_accumulation(runner, None if by_iteration else len(loader)))
    if any(isinstance(h, EarlyStoppingHook) for h in runner.hooks):
        found.append(
            f'custom_hooks: EarlyStoppingHook: {RESUMED} starts counting its '
            'patience again, and may end later')
    return found


def _accumulation(runner: Runner, epoch: int | None) -> Iterator[str]:
    """Accumulated gradients that are lost when a checkpoint is written."""
    count = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook):
            continue
        unit = epoch if hook.by_epoch else 1
        if unit is not None and hook.interval * unit % count:
            yield (f'optim_wrapper.accumulative_counts={count}: {RESUMED} '
                   'loses the gradients accumulated before a checkpoint, '
                   f'because checkpoints are written every '
                   f'{hook.interval * unit} iterations, which is not a '
                   'multiple of it')
            return


def _transforms(loader: DataLoader) -> Iterator[object]:
    """All transforms of a data set, through its wrappers."""
    left: list = [loader.dataset]
    while left:
        thing = left.pop()
        if isinstance(thing, (list, tuple)):
            left.extend(thing)
        elif hasattr(thing, '__dict__'):
            inside = [getattr(thing, key, None) for key in (
                'dataset', 'datasets', 'pipeline', 'transforms')]
            left.extend(x for x in inside if x is not None)
            yield thing
