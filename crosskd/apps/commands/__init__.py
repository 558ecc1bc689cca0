"""The commands of ``python -m crosskd``; the scripts in ``tools/`` call them.

A command takes its arguments and the words that it was called with.
"""
from .benchmark import run_benchmark_command
from .compare import run_compare
from .distil import run_distil
from .export_student import run_export_command
from .main import COMMANDS, main
from .make_config import run_make_config
from .test import run_test
from .tools import run_demo_command, run_mmdet
from .train import run_train

__all__ = [
    'COMMANDS', 'main', 'run_benchmark_command', 'run_compare',
    'run_demo_command', 'run_distil', 'run_export_command', 'run_make_config',
    'run_mmdet', 'run_test', 'run_train'
]
