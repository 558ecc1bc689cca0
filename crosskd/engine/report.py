"""The report at the end of a training: results and next commands."""
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..detectors import DistillationMixin
from ..detectors.unwrapping import unwrapped

COMMAND = 'python -m crosskd'


def report(run: Runner) -> str:
    """List the AP, the checkpoints, and the next commands.

    Args:
        run: the Runner, after its ``train``.

    Returns:
        str: a few lines.  Parts that the run does not have (validation,
        checkpoints, a test set) are omitted.
    """
    said = ['Training finished.', *_figures(run)]
    last, best = (_file(run, key) for key in ('last_ckpt', 'best_ckpt'))
    said += [f'  {which} checkpoint: {shown}' for which, shown in (
        ('last', last), ('best', best)) if shown]
    commands = list(_commands(run, best or last))
    if commands:
        said += ['Next:', *(f'  {line}' for line in commands)]
    return '\n'.join(said)


def _figures(run: Runner) -> Iterator[str]:
    told = run.message_hub
    for name, values in told.log_scalars.items():
        if name.startswith('val/') and name.endswith('mAP'):
            yield (f'  {name.removeprefix("val/")} of the last validation: '
                   f'{values.current():.3f}')
    for hook in run.hooks:
        if (isinstance(hook, CheckpointHook) and hook.save_best
                and _file(run, 'best_ckpt')):
            yield (f'  {hook.key_indicators[0]} of the best checkpoint: '
                   f'{told.get_info("best_score"):.3f}')


def _file(run: Runner, key: str) -> str | None:
    """A checkpoint that mmengine has noted, if it exists."""
    noted = run.message_hub.runtime_info.get(key)
    return _shown(noted) if noted and os.path.isfile(noted) else None


def _shown(path: str) -> str:
    """The path, relative to the working directory if it is inside."""
    near = os.path.relpath(path)
    return path if near.startswith('..') else near


def _commands(run: Runner, checkpoint: str | None) -> Iterator[str]:
    # the Runner writes the config there, with all changes by options
    config = Path(run.work_dir, Path(run.cfg.filename).name
                  if run.cfg.filename else f'{run.timestamp}.py')
    if checkpoint is None or not config.is_file():
        return
    both = shlex.join([_shown(str(config)), checkpoint])
    folder = shlex.quote(_shown(run.work_dir))
    if run._test_dataloader is not None:
        yield f'{COMMAND} test {both}'
    if isinstance(unwrapped(run.model), DistillationMixin):
        yield f'{COMMAND} export {both} exported'
    if run._test_dataloader is not None:
        yield f'{COMMAND} compare {folder} WORK_DIR_OF_ANOTHER_TRAINING'
