"""Variables of a config file, which nothing reads once the file is read."""
import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError
from mmengine.runner import FlexibleRunner, Runner

from .arguments import few
from .errors import ConfigValueError

# what mmengine's Runners, mmdet's tools and ours read of a config
READ = {*inspect.signature(Runner).parameters,
        *inspect.signature(FlexibleRunner).parameters,
        'activation_checkpointing', 'compile', 'custom_imports',
        'efficient_conv_bn_eval', 'find_unused_parameters',
        'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn', 'tta_model',
        'tta_pipeline'}


def check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Check that changes to a config change something.

    A top-level name that the config file itself uses, such as ``data_root``,
    is gone when the file has been read: what was made of it stays.  A name
    that the file does not use is for others to read, such as hooks.

    Args:
        cfg: as it was read from its file.
        options: changes to it, by dotted keys.

    Raises:
        ValueError: one is to such a variable; the message names the keys that
            were made of it.
    """
    tops = {key: key.split('.')[0] for key in options}
    tops = {key: top for key, top in tops.items()
            if top in cfg and top not in READ}
    if not tops or not cfg.filename:
        return
    used = _used(cfg.filename)
    for key, top in tops.items():
        if top in used:
            made = few(_made_of(cfg, top), show=str)
            change = f'Change {made} instead' if made else (
                'Change it in the file that has it')
            raise ConfigValueError(
                f'--cfg-options {key}={options[key]!r} changes nothing: '
                f'{top} is a variable of the config file, and the file has '
                f'been read with the old value. {change}')


def _used(file: str) -> set[str]:
    """Names that a config file uses, and those that it inherits from."""
    try:
        bases = Config._get_base_files(file)
    except (ConfigParsingError, SyntaxError):  # it has placeholders
        return set()
    used = set()
    for base in bases:
        used |= _used(Config._get_cfg_path(base, file)[0])
    if file.endswith('.py'):
        with open(file, encoding='utf-8') as opened:
            text = opened.read()
        used |= {node.id for node in ast.walk(ast.parse(text)) if isinstance(
            node, ast.Name) and isinstance(node.ctx, ast.Load)}
        used |= {*re.findall(r'_base_\.(\w+)', text)}
    return used


def _made_of(cfg: Config, name: str) -> list[str]:
    """Keys that have the value of a variable, or begin with it.

    Those of its own name come first.  A value that many keys have by chance
    counts for its own name alone.
    """
    value = cfg[name]
    by_chance = value is None or isinstance(value, bool) or value in (
        0, 1, '', [], {})
    found = []
    for key in cfg:
        if key not in READ:
            continue
        for path, one in _parts(cfg[key], key):
            is_same = type(one) is type(value) and (
                one == value or isinstance(one, str) and one.startswith(value))
            is_named = path.rpartition('.')[2] == name
            if is_same and (is_named or value and not by_chance):
                found.append((not is_named, path))
    return [path for _, path in sorted(found, key=lambda one: one[0])]


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, one in items:
        yield from _parts(one, f'{path}.{key}')
