"""Checks of optimizer, loaders, hooks and schedulers before a run begins."""
import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, LOOPS, Registry
from mmengine.runner import IterBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..arguments import missing
from ..checkpoints.pretrained import named_weights
from ..compat.mmengine_logging import quiet
from ..errors import ConfigValueError, words
from ..names import did_you_mean
from ..registry import resolve

# errors of mmengine, mmdet and torch about arguments
COMPLAINTS = (AssertionError, KeyError, TypeError, ValueError)


def check_load_from(path: Any) -> None:
    """Check that the file which ``load_from`` or ``--resume`` names exists.

    Raises:
        FileNotFoundError: there is none.
    """
    if path and '://' not in str(path) and not (
            Path(path).expanduser().is_file()):
        raise missing('load_from', str(path),
                      'the path or URL of a checkpoint')


def warn_of_frozen(model: nn.Module, given: Mapping[str, Any]) -> None:
    """Warn if frozen layers have random weights.

    mmdet's configs freeze part of the backbone, which only makes sense if its
    weights are pretrained.

    Args:
        model: the built model.
        given: the arguments of the Runner.
    """
    if given.get('load_from') or given.get('resume') or not isinstance(
            given['model'], dict):
        return
    loaded = [key.rpartition('.init_cfg')[0] + '.'
              for key, _ in named_weights(given['model'], 'model')]
    inheritance = getattr(model, 'inheritance', None)
    if inheritance is not None:
        loaded += [f'model.{name}.' for name in inheritance.modules]
    for name, module in model.named_modules():
        key = f'model.{name}'
        frozen = getattr(module, 'frozen_stages', None)
        if not isinstance(frozen, int) or any(
                f'{key}.'.startswith(part) for part in loaded):
            continue
        kept = dict(frozen_stages=(frozen, -1)) if frozen >= 0 else {}
        if getattr(module, 'norm_eval', False):
            kept['norm_eval'] = (True, False)
        if kept:
            print_log(
                f'{key}: its frozen layers ({_settings(kept, 0)}) have random '
                'weights (no init_cfg, no load_from) and will never train; '
                f'set {_settings(kept, 1)}', 'current', logging.WARNING)


def _settings(values: dict[str, tuple], at: int) -> str:
    return ' and '.join(f'{k}={pair[at]}' for k, pair in values.items())


def check_optimizer(model: nn.Module, cfg: Any) -> None:
    """Check that the optimizer can be built; ``--amp`` needs a GPU.

    Args:
        model: the model whose parameters are optimised.
        cfg: ``optim_wrapper`` of the config; only a dict with one optimizer
            is checked.

    Raises:
        ValueError: the optimizer cannot be built.
    """
    if not isinstance(cfg, dict) or not isinstance(cfg.get('optimizer'), dict):
        return
    try:
        with quiet():  # it is built again later, and then logs this
            build_optim_wrapper(model, copy.deepcopy(cfg))
    except COMPLAINTS as e:
        kind = cfg.get('type', 'OptimWrapper')
        amp = ' (--amp)' if 'Amp' in str(kind) else ''
        raise ConfigValueError(
            f'optim_wrapper.type={kind!r}{amp} with optimizer.type='
            f'{cfg["optimizer"].get("type")!r}: {words(e)}') from None


def check_schedules(schedules: Mapping[str, Sequence[Any]],
                    loop: Any) -> None:
    """Check that no schedule counts epochs in a run that has none.

    It warns of a loss that is off in the whole run.

    Args:
        schedules: by the name of a loss, the schedules of its weight.
        loop: the train loop, or its config (``train_cfg``).

    Raises:
        ValueError: one does.
    """
    if not _counts_iterations(loop):
        _warn_of_losses_that_are_off(schedules, loop)
        return
    for name, each in schedules.items():
        for schedule in each:
            if schedule.counts_epochs:
                raise ConfigValueError(
                    f'kd_cfg.schedule.{name}: {type(schedule).__name__} '
                    'counts epochs, but the train loop (train_cfg) counts '
                    'iterations only; expected by_epoch=False, with begin and '
                    'end in iterations, and no each_epoch')


def _warn_of_losses_that_are_off(schedules: Mapping[str, Sequence[Any]],
                                 loop: Any) -> None:
    epochs = (loop.get('max_epochs') if isinstance(loop, dict) else
              getattr(loop, 'max_epochs', None))
    for name, each in schedules.items():
        for schedule in each:
            if epochs and schedule.is_always_off(epochs):
                print_log(
                    f'kd_cfg.schedule.{name}: {schedule} turns this loss off '
                    f'for the whole run, which has {epochs} epochs '
                    '(train_cfg.max_epochs)', 'current', logging.WARNING)


def _counts_iterations(loop: Any) -> bool:
    if isinstance(loop, dict):
        if 'type' not in loop:
            return not loop.get('by_epoch', True)
        loop = resolve(LOOPS, loop['type'], loop.get('_scope_'))
    kind = loop if isinstance(loop, type) else type(loop)
    return issubclass(kind, IterBasedTrainLoop)


def check_types(key: str, registry: Registry, cfg: Any) -> None:
    """Check that every ``type`` in a part of a config is registered.

    Args:
        key: of the part of the config, for messages.
        registry: the registry that builds it.
        cfg: a config with a ``type``, or a list or dict of such configs.

    Raises:
        ValueError: a type is not in the registry.
    """
    if isinstance(cfg, (list, tuple)):
        for index, one in enumerate(cfg):
            check_types(f'{key}[{index}]', registry, one)
    elif isinstance(cfg, dict) and 'type' not in cfg:
        for name, one in cfg.items():
            check_types(f'{key}.{name}', registry, one)
    elif isinstance(cfg, dict) and isinstance(cfg['type'], str):
        with registry.switch_scope_and_registry(
                cfg.get('_scope_')) as scoped:
            try:
                known = scoped.get(cfg['type'])
            except RuntimeError:  # mmengine raises it for unknown modules
                known = None
        if known is None:
            hint = did_you_mean(
                cfg['type'], [*scoped.module_dict, *registry.module_dict])
            raise ConfigValueError(
                f'{key}.type={cfg["type"]!r} is not in the '
                f'{scoped.scope}::{scoped.name} registry{hint}')


def check_loader(key: str, build: Callable[[], DataLoader]) -> DataLoader:
    """Build a data loader with its sampler, and return it.

    Args:
        key: of the data loader in the config, for messages.
        build: builds the data loader; no worker is started.

    Raises:
        ValueError: it cannot be built.
    """
    try:
        return build()
    except COMPLAINTS as e:
        raise ConfigValueError(f'{key}: {words(e)}') from None


def built_dataset(loader: DataLoader | dict) -> Dataset:
    """The built data set of a data loader, or of its config."""
    if isinstance(loader, DataLoader):
        return loader.dataset
    dataset = loader['dataset']
    return DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
