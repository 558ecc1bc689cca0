"""Run mmdet's own command-line tools with crosskd registered."""
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import mmdet

from .checkpoint import restrict_mmengine
from .cpu_ranks import use_gloo
from .runner import Runner


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
    use_gloo(sys.argv)
    restrict_mmengine()
    loader = SourceFileLoader(f'mmdet_{path.stem}', str(path))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    if tool == 'train.py':
        vars(module)['Runner'] = Runner
    module.main()
