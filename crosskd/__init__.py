"""Knowledge distillation of object detectors, for MMDetection 3.x.

Importing the package registers its detectors, losses and hooks with mmdet,
and lets mmcv, mmengine and mmdet work with it: see ``compat/``.
"""
from .dependencies import check_dependencies

check_dependencies()

from .compat.mmdet_notices import silence_notices  # noqa: E402

silence_notices()

from .compat.mmcv_ext import install_if_missing  # noqa: E402

install_if_missing()  # before anything imports mmdet.models

from . import detectors, losses, registry  # noqa: E402, F401
from .apps import visualization as _visualization  # noqa: E402, F401
from .compat import (  # noqa: E402
    mmdet_registries,
    mmengine_checkpoints,
    mmengine_configs,
    mmengine_runner,
)
from .compat.ssd import let_ssd_predict  # noqa: E402
from .engine import runner as _runner  # noqa: E402, F401
from .version import __version__  # noqa: E402

mmdet_registries.register_in_roots(__name__)
mmengine_configs.let_configs_inherit_from(__name__)
mmengine_checkpoints.do_without_torchvision()
mmengine_runner.tell_where_configs_lie()
let_ssd_predict()

__all__ = ['__version__']
