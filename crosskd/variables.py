"""Variables of a config file, which are only used while it is read."""
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

# keys of a config that mmengine's Runners, mmdet's tools and crosskd read
READ = {*inspect.signature(Runner).parameters,
        *inspect.signature(FlexibleRunner).parameters,
        'activation_checkpointing', 'compile', 'custom_imports',
        'efficient_conv_bn_eval', 'find_unused_parameters',
        'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn', 'tta_model',
        'tta_pipeline'}


def check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Check that changes to a config have an effect.

    A top-level name that the config file itself uses, such as ``data_root``,
    has no effect once the file has been read: the keys made from it have their
    values by then.  A name that the file does not use may be read by others,
    such as hooks.

    Args:
        cfg: the config, as read from its file.
        options: the changes, by dotted keys.

    Raises:
        ValueError: a change is to such a variable; the message names the keys
            that were made from it.
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
                f'--cfg-options {key}={options[key]!r} has no effect: '
                f'{top} is a variable of the config file, and the file has '
                f'been read with the old value. {change}')


def _used(file: str) -> set[str]:
    """Names that are used in a config file and in those that it inherits."""
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

    Keys of the same name come first.  If the value is one that many keys have
    by chance, only keys of the same name count.
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
