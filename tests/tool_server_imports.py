"""What a run of a tool imports; nothing of it is run in the server."""
import crosskd.demo.shapes  # noqa: F401  # first, as in conftest

# isort: split
import mmdet.apis  # noqa: F401
import mmengine.hooks  # noqa: F401
import mmengine.runner  # noqa: F401
import mmengine.visualization  # noqa: F401
import torch
from mmdet.utils import register_all_modules

register_all_modules(init_default_scope=False)
# libgomp's threads do not survive a fork; a process with one has none to lose
torch.set_num_threads(1)
