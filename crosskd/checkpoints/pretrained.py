"""Checking the pretrained weights of a config before a run begins."""
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from ..arguments import missing
from ..errors import ConfigFileNotFoundError, ConfigValueError
from ..names import did_you_mean
from .downloads import download, is_url
from .loading import (
    REFUSED_STORAGE,
    load_checkpoint,
    load_from_elsewhere,
)


def check_pretrained(cfg: Any, key: str = 'model') -> None:
    """Check every file that ``init_cfg`` or ``pretrained`` names.

    URLs are downloaded.

    Args:
        cfg: config of a model, or a part of it.  ``teacher_config`` is
            skipped, because all weights of a teacher are in its checkpoint.
        key: of ``cfg`` in the whole config, for messages.

    Raises:
        FileNotFoundError: a file does not exist and cannot be downloaded.
        CheckpointError: a local file is not a checkpoint.
        ValueError: a name is not in mmengine's list for a scheme such as
            ``torchvision://``, or the storage is refused, such as ``s3://``.
    """
    for name, path in named_weights(cfg, key):
        if any(re.match(scheme, path) for scheme in REFUSED_STORAGE):
            load_from_elsewhere(path, key=name)
        scheme, found, rest = path.partition('://')
        if found and not is_url(path):
            listed = _listed(scheme)
            if listed is None and _is_registered(path):
                continue  # another package has registered a loader
            if listed is None:
                listed = {rest: path}
            if rest not in listed:
                raise ConfigValueError(
                    f"{name}={path!r}: {rest!r} is not in mmengine's list "
                    f'for {scheme}://'
                    f'{did_you_mean(rest, listed)}')
            path = listed[rest]
        if is_url(path):
            try:
                download(path, name)
            except FileNotFoundError as e:
                part = name.rpartition('.')[0]
                raise ConfigFileNotFoundError(
                    f'{e}, or start with random weights: {part}=None (in '
                    'the config, or after --cfg-options)') from None
        elif not Path(path).expanduser().is_file():
            raise missing(name, path, 'the path or URL of a checkpoint, or '
                          'None to start with random weights')
        else:
            load_checkpoint(path, name, 'Save its weights alone in a file of '
                            'their own')


def named_weights(cfg: Any, key: str) -> Iterator[tuple[str, str]]:
    """Keys and values of all pretrained weights in a config.

    Args:
        cfg: as for :func:`check_pretrained`.
        key: of ``cfg`` in the whole config.
    """
    if isinstance(cfg, (list, tuple)):
        for index, value in enumerate(cfg):
            yield from named_weights(value, f'{key}[{index}]')
    if not isinstance(cfg, dict):
        return
    kind = cfg.get('type')
    if inspect.isclass(kind):
        kind = kind.__name__
    is_init = str(kind).rpartition('.')[2] in ('Pretrained', 'PretrainedInit')
    for name, value in cfg.items():
        if name == 'pretrained' or (is_init and name == 'checkpoint'):
            if isinstance(value, str):
                yield f'{key}.{name}', value
        elif name != 'teacher_config':
            yield from named_weights(value, f'{key}.{name}')


def _is_registered(path: str) -> bool:
    """Whether mmengine has a loader for it other than the one for paths."""
    find = CheckpointLoader._get_checkpoint_loader
    return find(path) is not find('a path')


def _listed(scheme: str) -> dict[str, str] | None:
    """mmengine's list of names for a scheme; None for other schemes."""
    if scheme in ('torchvision', 'modelzoo'):
        # needs no torchvision, see compat/mmengine_checkpoints.py
        return mmengine_checkpoint.get_torchvision_models()
    if scheme in ('open-mmlab', 'openmmlab'):
        urls = mmengine_checkpoint.get_external_models()
        # their files may be in mmengine's own folder
        home = Path(mmengine_checkpoint._get_mmengine_home())
        urls = {k: v if is_url(v) else str(home / v) for k, v in urls.items()}
        renamed = mmengine_checkpoint.get_deprecated_model_names()
        return {**urls, **{old: urls[new] for old, new in renamed.items()
                           if new in urls}}
    if scheme == 'mmcls':
        return mmengine_checkpoint.get_mmcls_models()
    return None
