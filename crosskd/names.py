"""Suggesting known names that are similar to an unknown one."""
import difflib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ('crosskd', 'mmdet')  # that have configs
CONFIGS = ('.py', '.json', '.yaml', '.yml')


def did_you_mean(name: Any, known: Iterable[Any]) -> str:
    """The end of a message about an unknown name.

    Args:
        name: the unknown name.
        known: the known names.

    Returns:
        str: the most similar known name, ignoring case; empty if there is
        none.
    """
    return _asked(_nearest(name, known))


def did_you_mean_path(path: str, known: Iterable[str]) -> str:
    """Like :func:`did_you_mean`, for a path among others.

    The file name counts first: it may be right while the folder is wrong or
    missing.
    """
    return _asked(_nearest_path(path, [*known]))


def did_you_mean_named(package: str, name: str) -> str:
    """Like :func:`did_you_mean`, for a config ``'package::name'``."""
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.origin:
        package = _nearest(package, PACKAGES)
        return _asked(package and f'{package}::{name}')
    configs = Path(spec.origin).parent / '.mim' / 'configs'
    near = _nearest_path(name, [one.relative_to(configs).as_posix()
                                for one in sorted(configs.glob('**/*.py'))])
    return _asked(near and f'{package}::{near}')


def did_you_mean_config(path: str, folders: Iterable[Path]) -> str:
    """Like :func:`did_you_mean`, for the file of a config.

    Args:
        path: the path that does not exist.
        folders: the folders in which it was looked up; the first one with a
            file of a similar name is used.
    """
    for folder in folders:
        files = sorted(one.name for one in (folder / path).parent.glob('*')
                       if one.suffix in CONFIGS and one.is_file())
        near = _files_near(path, files)
        if near:  # with the folder, as the user wrote it
            return _asked(str(Path(path).with_name(near[0])))
    return ''


def _nearest(name: Any, known: Iterable[Any]) -> str:
    spelt = {str(one).lower(): str(one) for one in reversed([*known])}
    near = difflib.get_close_matches(str(name).lower(), spelt, 1)
    return spelt[near[0]] if near else ''


def _nearest_path(path: str, known: list[str]) -> str:
    near = _files_near(path, known)
    return _nearest(path, near or known) or next(iter(near), '')


def _files_near(path: str, known: list[str]) -> list[str]:
    """The paths whose file has the most similar name, without suffix."""
    stem = _nearest(Path(path).stem, [Path(one).stem for one in known])
    return [one for one in known if Path(one).stem == stem]


def _asked(name: str) -> str:
    return f'; did you mean {name!r}?' if name else ''
