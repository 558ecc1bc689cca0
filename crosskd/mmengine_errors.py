"""Explaining mmengine's errors about a config: the key, and a similar name.

They are raised while a config is read, or while something is built from it.
The frames of the traceback contain what the message omits.
"""
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from .names import did_you_mean, did_you_mean_config, did_you_mean_named

UNEXPECTED = re.compile(r"\(\) got an unexpected keyword argument '(\w+)'")
# raised about a config that does not exist, or has an invalid name
LOST = (AssertionError, FileNotFoundError, ModuleNotFoundError, ValueError)
# registries that build a part of the config of their name
PARTS = ('model', )


def meaning(error: BaseException) -> Exception | None:
    """mmengine's error about a config, in words that name its key.

    Args:
        error: the caught error, perhaps with others in its context.

    Returns:
        Exception: a FileNotFoundError, TypeError or ValueError, whose message
        names the key or the file, what was found, and a similar name; None
        for any other error.
    """
    chain = [*_chain(error)]
    frames = [frame for one in chain for frame in _frames(one)]
    root = chain[-1]
    if any(isinstance(one, LOST) and _raised_in(
            one, 'mmengine.config', 'mmengine.utils') for one in chain):
        said = _missing_file(frames)
        if said is not None:
            return FileNotFoundError(said)
    if isinstance(root, KeyError) and _raised_in(root, 'mmengine.registry'):
        return ValueError(_unknown_type(frames) or f'config: {root.args[0]}')
    if isinstance(root, TypeError):
        said = _unknown_key(frames, str(root))
        if said is not None:
            return TypeError(said)
    return None


# -- files --------------------------------------------------------------------


def _missing_file(frames: list[FrameType]) -> str | None:
    """A config, or one that it inherits, does not exist."""
    files = [*dict.fromkeys(
        os.path.abspath(frame.f_locals['filename']) for frame in frames
        if _is(frame, 'mmengine.config', '_file2dict', '_is_lazy_import'))]
    named = [frame.f_locals for frame in frames
             if _is(frame, 'mmengine.config', '_get_cfg_path')]
    if named:  # 'package::name', which may already be split in two
        lost = '::'.join(filter(None, [
            named[-1].get('package'), named[-1]['cfg_path']]))
        near = did_you_mean_named(*lost.split('::', 1))
    elif files and not os.path.isfile(files[-1]):
        lost = files.pop()
        near = did_you_mean_config(lost, [Path()])
    else:
        return None
    if files:
        return f'config {files[-1]!r}: _base_ {lost!r} does not exist{near}'
    return f'config {lost!r}: no such file{near}'


# -- types and arguments ------------------------------------------------------


def _unknown_type(frames: list[FrameType]) -> str | None:
    """A ``type`` is in no registry."""
    builds = _builds(frames)
    if not builds or not isinstance(builds[-1].get('obj_type'), str):
        return None
    kind, registry = builds[-1]['obj_type'], builds[-1]['registry']
    key = _key(builds)
    key = f'{key}.type' if key else (
        'runner_type' if registry.name == 'runner' else 'config: type')
    near = did_you_mean(kind.rpartition('.')[2], _registered(registry.root))
    return (f'{key}={kind!r} is not in the {registry.scope}::{registry.name} '
            f'registry{near}')


def _unknown_key(frames: list[FrameType], text: str) -> str | None:
    """A key of a config is not an argument of the class that it builds."""
    found, builds = UNEXPECTED.search(text), _builds(frames)
    if not found or not builds or found[1] not in builds[-1]['args']:
        return None
    name, kind = found[1], builds[-1]['obj_cls']
    # if a function builds the object, or a class passes arguments on
    owner = frames[-1].f_locals.get('self')
    if not inspect.isclass(kind) and owner is not None:
        kind = type(owner)
    known = parameters(kind)
    if name in known:
        return None  # so it is a bug
    key = _key(builds) or 'config'
    return (f'{key}: unknown key {name!r}, {kind.__name__} takes '
            f'{", ".join(known)}{did_you_mean(name, known)}')


def parameters(kind: Any) -> list[str]:
    """Names of the arguments of a class and of its base classes."""
    functions = [vars(c)['__init__'] for c in kind.__mro__
                 if '__init__' in vars(c)] if inspect.isclass(kind) else [kind]
    named = (p.name for f in functions
             for p in [*inspect.signature(f).parameters.values()]
             if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return [name for name in dict.fromkeys(named) if name != 'self']


def _builds(frames: list[FrameType]) -> list[dict[str, Any]]:
    """Variables of the calls that build from a config, outermost first."""
    return [frame.f_locals for frame in dict.fromkeys(frames)
            if _is(frame, 'mmengine.registry', 'build_from_cfg',
                   'build_runner_from_cfg')]


def _key(builds: list[dict[str, Any]]) -> str:
    """Dotted key of the part that the innermost call builds, or empty."""
    for build in builds:
        if build['registry'].name in PARTS:
            path = _path(build['cfg'], builds[-1]['cfg'])
            return build['registry'].name + ''.join(f'.{k}' for k in path)
    return ''


def _path(cfg: Any, wanted: Mapping) -> tuple:
    """The keys that lead to a part of a config; empty if it is not found."""
    parts = [*_parts(cfg)]
    same = [path for path, part in parts if part is wanted]
    alike = [path for path, part in parts
             if part.get('type') == wanted.get('type')]
    return (same or alike or [()])[0]


def _parts(cfg: Any, path: tuple = ()) -> Iterator[tuple[tuple, Mapping]]:
    if isinstance(cfg, Mapping):
        yield path, cfg
        for key, value in cfg.items():
            yield from _parts(value, (*path, key))
    elif isinstance(cfg, (list, tuple)):
        for index, value in enumerate(cfg):
            yield from _parts(value, (*path, index))


def _registered(registry: Any) -> list[str]:
    """Names in a registry and in its children."""
    return [*registry.module_dict, *(
        name for child in registry.children.values()
        for name in _registered(child))]


# -- tracebacks ---------------------------------------------------------------


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those in its context, ending with the original one."""
    yield error
    while error.__context__ is not None and (
            error.__cause__ is not None or not error.__suppress_context__):
        error = error.__context__
        yield error


def _frames(error: BaseException) -> Iterator[FrameType]:
    place = error.__traceback__
    while place is not None:
        yield place.tb_frame
        place = place.tb_next


def _raised_in(error: BaseException, *packages: str) -> bool:
    *_, last = [None, *_frames(error)]
    return last is not None and _module(last).startswith(packages)


def _is(frame: FrameType, package: str, *functions: str) -> bool:
    return (frame.f_code.co_name in functions
            and _module(frame).startswith(package))


def _module(frame: FrameType) -> str:
    return frame.f_globals.get('__name__', '')
