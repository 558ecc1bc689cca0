"""Importing this module registers the package with mmdet."""
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

mmdet_registries.register_in_roots(__package__)
mmengine_configs.let_configs_inherit_from(__package__)
mmengine_checkpoints.do_without_torchvision()
mmengine_runner.tell_where_configs_lie()
let_ssd_predict()
