"""Checking that the packages that crosskd needs are installed.

Two stacks share the import names ``mmcv``, ``mmengine`` and ``mmdet`` under
different distribution names, so versions are read from the modules and never
from the package metadata.
"""
import importlib
import re

# the package index has no crosskd: the requirements as in setup.py
ONEDL = ('onedl-mmcv==2.3.6', 'onedl-mmengine==0.10.12',
         'onedl-mmdetection==3.5.1')
OPENMMLAB = ('mmcv-lite==2.1.0', 'mmengine==0.10.7', 'mmdet==3.3.0')
INSTALL_TORCH = 'pip install torch'
INSTALL_MMDET = (f'pip install {" ".join(ONEDL)} (or the OpenMMLab packages: '
                 f'{" ".join(OPENMMLAB)})')
# module, oldest supported version, how to get it
REQUIRED = (
    ('torch', (2, 1), INSTALL_TORCH),
    ('mmengine', (0, 10), INSTALL_MMDET),
    ('mmcv', (2, 1), INSTALL_MMDET),
    ('mmdet', (3, 3), INSTALL_MMDET),
)


class DependencyError(ImportError):
    """A package that crosskd needs is missing or too old."""


def _release(version: str) -> tuple:
    """Leading numbers of a version: ``'2.13.0+cpu'`` -> ``(2, 13, 0)``."""
    return tuple(int(n) for n in re.findall(r'\d+', version.split('+')[0])[:3])


def check_dependencies() -> None:
    """Import torch, mmengine, mmcv and mmdet and compare their versions.

    Raises:
        DependencyError: one of them is missing or too old.  The message names
            the package, what was found, what is needed and how to install it.
    """
    for name, oldest, how in REQUIRED:
        need = '.'.join(map(str, oldest))
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as e:
            if e.name != name:  # installed, but broken in its own way
                raise
            raise DependencyError(
                f'crosskd needs {name} >= {need}, which is not installed. '
                f'Install it with: {how}') from None
        if _release(module.__version__) < oldest:
            raise DependencyError(
                f'crosskd needs {name} >= {need}, found {module.__version__}. '
                f'Install it with: {how}')
