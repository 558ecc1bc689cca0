"""Measuring the cost of a distilled step: ``python -m crosskd benchmark``."""
from .picture import draw
from .run import run_benchmark
from .setting import Setting
from .table import format_table

__all__ = ['Setting', 'draw', 'format_table', 'run_benchmark']
