"""Knowledge distillation of object detectors, for MMDetection 3.x.

Importing the package registers its detectors, losses and hooks with mmdet.
"""
from .dependencies import check_dependencies

check_dependencies()

from .compat.mmcv_ext import install_if_missing  # noqa: E402

install_if_missing()  # before anything imports mmdet.models

from mmengine.config import utils as _config_utils  # noqa: E402
from mmengine.runner import checkpoint as _checkpoint  # noqa: E402

from . import detectors, losses, registry  # noqa: E402, F401
from .apps import visualization as _visualization  # noqa: E402, F401
from .checkpoints.pretrained import torchvision_urls  # noqa: E402
from .compat.ssd import let_ssd_predict  # noqa: E402
from .engine import hooks as _hooks  # noqa: E402, F401
from .version import __version__  # noqa: E402

registry.register_everywhere()
let_ssd_predict()
# Lets a downstream config say ``_base_ = 'crosskd::crosskd/….py'``.
_config_utils.MODULE2PACKAGE.setdefault('crosskd', 'crosskd')
# Backbones of 'torchvision://' need a list of URLs, and no torchvision.
_checkpoint.get_torchvision_models = torchvision_urls

__all__ = ['__version__']
