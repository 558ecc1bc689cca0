"""What a run of a tool imports; nothing of it is run in the server."""
import sys

import crosskd.apps.demo.shapes  # noqa: F401  # first, as in conftest

# isort: split
import mmdet.apis  # noqa: F401
import mmengine.config.config
import mmengine.hooks  # noqa: F401
import mmengine.runner  # noqa: F401
import mmengine.visualization  # noqa: F401
import torch
import torch.utils.cpp_extension  # noqa: F401  # for a run's environment
from fast_start import fast_start
from mmdet.utils import register_all_modules
from yapf.yapflib import yapf_api

register_all_modules(init_default_scope=False)
# libgomp's threads do not survive a fork; a process with one has none to lose
torch.set_num_threads(1)
# imports torch's compiler, of all things
torch.use_deterministic_algorithms(True)
torch.use_deterministic_algorithms(False)
# laying out the text of a config takes longer than many a run; what is run
# in a process of its own (test_tools.run) does it
for module in (yapf_api, mmengine.config.config):
    vars(module)['FormatCode'] = lambda text, **_: (text, True)
fast_start()
mmengine.config.Config._get_cfg_path('mmdet::_base_/default_runtime.py', '')

# what imports have printed is in a buffer that every fork would print again
sys.stdout.flush()
