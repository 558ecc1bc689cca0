"""Errors of the first validation: which key of the config they are about."""
import json
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..errors import ConfigError, ConfigValueError, describe

DATA = 'val_dataloader.dataset'
#: keys of an image that mmdet's predictions, metrics and pictures read
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
#: keys of its annotations that metrics without a file read
ANNOTATIONS = ('gt_instances', 'ignored_instances', 'instances', 'bboxes',
               'labels', 'masks')


@contextmanager
def naming(key: str, what: str, cfg: Any = None, sample: Any = None,
            kind: type[ConfigError] = ConfigValueError) -> Iterator[None]:
    """Make an error name the config key of the part that failed.

    Args:
        key: the key in the config.
        what: what the part cannot do.
        cfg: config of the part; the message may name one of its arguments.
        sample: from the pipeline; it may lack the key that was looked up.
        kind: the type of the error that is raised.
    """
    try:
        yield
    except Exception as e:
        if isinstance(e, (ConfigError, MemoryError)):
            raise
        # registries raise errors again, with a longer message
        root: BaseException = e
        while root.__context__ is not None:
            root = root.__context__
        said = f'{what}: {describe(root)}'
        missing = [] if sample is None else _missing(root, sample)
        if missing:
            key, kind = f'{DATA}.pipeline', ConfigValueError
            said = (f'its images have no {", ".join(missing)} ({said}). '
                    'Expected a Resize, LoadAnnotations, and PackDetInputs '
                    f'with meta_keys={META_KEYS}')
        elif isinstance(cfg, Mapping):
            key += _argument(cfg, root)
        raise kind(f'{key}: {said}') from None


def _missing(error: BaseException, sample: Any) -> list[str]:
    """What an error looked for, and the pipeline did not give."""
    frames = traceback.extract_tb(error.__traceback__)
    text = f'{error} {frames[-1].line if frames else ""}'
    asked = [key for key in META_KEYS if key in text]
    if isinstance(error, KeyError) and error.args[:1] in (
            (key, ) for key in ANNOTATIONS):
        asked.append(error.args[0])
    return [key for key in asked if key not in sample]


def _argument(cfg: Mapping, error: BaseException) -> str:
    """The argument of a config that an error is about, with its value."""
    given = {k: v for k, v in cfg.items() if k not in ('type', '_scope_')}
    text = str(error)
    for name, value in given.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(v, str) and v and v in text for v in values):
            return f'.{name}={value!r}'
    unreadable = isinstance(error, (json.JSONDecodeError, UnicodeDecodeError))
    for name, value in given.items():
        if re.search(rf'\b{re.escape(name)}\b', text) or (
                unreadable and name == 'ann_file'):
            return f'.{name}={value!r}'
    return ''
