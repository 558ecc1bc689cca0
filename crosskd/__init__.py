"""Knowledge distillation of object detectors, for MMDetection 3.x.

Importing the package registers its detectors, losses and hooks with mmdet,
and lets mmcv, mmengine and mmdet work with it: see ``registration.py`` and
``compat/``.  The command ``crosskd`` does so when it needs them.
"""
from .started import as_our_command
from .version import __version__

if not as_our_command(__name__):
    from . import registration  # noqa: F401

__all__ = ['__version__']
