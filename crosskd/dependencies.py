"""Checking that the packages which this one needs are installed.

Two stacks share the import names ``mmcv``, ``mmengine`` and ``mmdet`` under
different distribution names, so versions are read from the modules and never
from the package metadata.
"""
import importlib
import re

# module, oldest supported version, how to get it
REQUIRED = (
    ('torch', (2, 1), 'pip install torch==2.13.0'),
    ('mmengine', (0, 10), "pip install 'crosskd[onedl]'"),
    ('mmcv', (2, 1), "pip install 'crosskd[onedl]'"),
    ('mmdet', (3, 3), "pip install 'crosskd[onedl]'"),
)
OTHER_STACK = "(or 'crosskd[openmmlab]' for the OpenMMLab packages)"


def _release(version: str) -> tuple:
    """Leading numbers of a version: ``'2.13.0+cpu'`` -> ``(2, 13, 0)``."""
    return tuple(int(n) for n in re.findall(r'\d+', version.split('+')[0])[:3])


def check_dependencies() -> None:
    """Import torch, mmengine, mmcv and mmdet and compare their versions.

    Raises:
        ImportError: one of them is missing or too old.  The message names the
            package, what was found, what is needed and how to get it.
    """
    for name, oldest, how in REQUIRED:
        need = '.'.join(map(str, oldest))
        if name != 'torch':
            how = f'{how} {OTHER_STACK}'
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as e:
            if e.name != name:  # installed, but broken in its own way
                raise
            raise ImportError(f'crosskd needs {name} >= {need}, which is not '
                              f'installed. Get it with: {how}') from None
        if _release(module.__version__) < oldest:
            raise ImportError(
                f'crosskd needs {name} >= {need}, found {module.__version__}. '
                f'Get it with: {how}')
