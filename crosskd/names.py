"""Names that are near to one that is not known."""
import difflib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ('crosskd', 'mmdet')  # that have configs
CONFIGS = ('.py', '.json', '.yaml', '.yml')


def did_you_mean(name: Any, known: Iterable[Any]) -> str:
    """The end of a message about a name that is not known.

    Args:
        name: what was given.
        known: what is allowed.

    Returns:
        str: names what is near, upper or lower case aside; empty if nothing
        is.
    """
    return _asked(_nearest(name, known))


def did_you_mean_path(path: str, known: Iterable[str]) -> str:
    """As :func:`did_you_mean`, for a path among others.

    The name of the file counts first: it may be right, and its folder wrong
    or left out.
    """
    return _asked(_nearest_path(path, [*known]))


def did_you_mean_named(package: str, name: str) -> str:
    """As :func:`did_you_mean`, for a config ``'package::name'``."""
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.origin:
        package = _nearest(package, PACKAGES)
        return _asked(package and f'{package}::{name}')
    configs = Path(spec.origin).parent / '.mim' / 'configs'
    near = _nearest_path(name, [one.relative_to(configs).as_posix()
                                for one in sorted(configs.glob('**/*.py'))])
    return _asked(near and f'{package}::{near}')


def did_you_mean_config(path: str, folders: Iterable[Path]) -> str:
    """As :func:`did_you_mean`, for the file of a config.

    Args:
        path: what was given.
        folders: where it was looked up; the first that has a file of a near
            name is the one that counts.
    """
    for folder in folders:
        files = sorted(one.name for one in (folder / path).parent.glob('*')
                       if one.suffix in CONFIGS and one.is_file())
        near = _files_near(path, files)
        if near:  # with the folder, as it was written
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
    """The paths whose file has the nearest name, suffix aside."""
    stem = _nearest(Path(path).stem, [Path(one).stem for one in known])
    return [one for one in known if Path(one).stem == stem]


def _asked(name: str) -> str:
    return f'; did you mean {name!r}?' if name else ''
