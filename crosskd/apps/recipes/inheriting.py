"""How a config inherits the student's: by ``_base_`` or by an import.

mmengine has two styles of configs.  Those of its pure Python style import what
they inherit (``with read_base(): from .student import *``), and cannot be
inherited by ``_base_``.
"""
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mmdet
from mmengine.config import Config

from ...configs import BUILDER, BUILDS
from ...errors import ConfigValueError


class Opening(NamedTuple):
    """The lines of a config up to the model's first argument.

    Attributes:
        lines: these lines.
        kind: expression for the ``type`` of the model.
        plain: expression for the ``type`` of the plain student.
    """
    lines: Sequence[str]
    kind: str
    plain: str


def is_python_style(file: str) -> bool:
    """Whether a config is of mmengine's pure Python style."""
    return Config._is_lazy_import(file)


def by_base(base: str, imports: Sequence[str], kind: str, plain: str,
            more: Sequence[str] = ()) -> Opening:
    """Inherit by ``_base_``.

    Args:
        base: the student's config, as ``_base_`` names it.
        imports: modules that the config imports.
        kind: name of the distilled detector's class.
        plain: name of the plain student's class.
        more: further lines before the model.
    """
    return Opening([
        f'_base_ = {base!r}',
        f'custom_imports = dict(\n    imports={list(imports)}, '
        'allow_failed_imports=False)',
        "runner_type = 'DistillationRunner'", *more, 'model = dict('],
        repr(kind), repr(plain))


def by_import(module: str, kind: str) -> Opening:
    """Inherit by an import.

    Args:
        module: the student's config, as :func:`module_of` names it.
        kind: name of the distilled detector's class.
    """
    thing = BUILDS if kind == BUILDER else kind
    return Opening([
        'from mmengine.config import read_base', '',
        f'from crosskd.detectors import {thing}',
        'from crosskd.engine.runner import DistillationRunner', '',
        'with read_base():', f'    from {module} import *', '',
        'runner_type = DistillationRunner', 'model.update('],
        thing, 'model.type')


def module_of(found: str, file: str, folder: Path) -> str:
    """The module by which a config in a folder imports another config.

    Args:
        found: what names the other config, for messages.
        file: its file.
        folder: the folder of the config that imports it.

    Returns:
        str: such as ``'..configs.student'``, or ``'mmdet.configs.….name'``.

    Raises:
        ValueError: Python cannot import it by a name from there.
    """
    path = Path(os.path.abspath(file)).with_suffix('')
    package = Path(mmdet.__file__).parent
    if path.is_relative_to(package):
        up, names = 0, ['mmdet', *path.relative_to(package).parts]
    else:
        *parts, = Path(os.path.relpath(path, folder)).parts
        up = parts.count(os.pardir) + 1
        names = parts[up - 1:]
    wrong = [name for name in names if not name.isidentifier()]
    if wrong:
        raise ConfigValueError(
            f'{found}: this config is of the pure Python style, so the new '
            f'config has to import it from {folder}; expected a path with '
            f"letters, digits and _ only, found {', '.join(wrong)}. Rename "
            'it, or write the new config into the same folder (-o)')
    return '.' * up + '.'.join(names)
