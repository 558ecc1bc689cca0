"""Run mmdet's own command-line tools with crosskd registered."""
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import mmdet
import torch

from .checkpoint import restrict_mmengine
from .runner import Runner

# what mmengine would set up for one GPU a rank, for ranks on CPUs
CPU_WRAPPER = [
    'model_wrapper_cfg.type=MMDistributedDataParallel',
    'model_wrapper_cfg.device_ids=None',
    'model_wrapper_cfg.broadcast_buffers=False'
]


def run(tool: str) -> None:
    """Run a tool of mmdet's in this process, on this process's arguments.

    Checkpoints are loaded through the allow-list, and training has this
    package's :class:`~crosskd.runner.Runner`, unless the config has a
    ``runner_type`` of its own.

    Args:
        tool: file name, such as ``'train.py'``.

    Raises:
        FileNotFoundError: the installed mmdet comes without its tools.
    """
    path = Path(mmdet.__file__).parent / '.mim' / 'tools' / tool
    if not path.is_file():
        raise FileNotFoundError(f"mmdet's {tool} is not at {path}; install "
                                'mmdet as a package or in editable mode')
    _prepare_cpu_ranks(sys.argv)
    restrict_mmengine()
    loader = SourceFileLoader(f'mmdet_{path.stem}', str(path))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    if tool == 'train.py':
        vars(module)['Runner'] = Runner
    module.main()


def _prepare_cpu_ranks(argv: list[str]) -> None:
    """Let torch's launcher work without GPUs, on gloo.

    mmengine's own start of distributed runs takes a GPU per rank for granted;
    it leaves a process group alone that exists already.
    """
    launched = '--launcher=pytorch' in argv or any(
        a == '--launcher' and b == 'pytorch'
        for a, b in zip(argv, argv[1:], strict=False))
    if launched and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
        argv += ['--cfg-options', *CPU_WRAPPER]
