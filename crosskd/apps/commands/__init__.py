"""The commands of ``crosskd``; the scripts in ``tools/`` call them, too.

A command takes its arguments and the words that it was called with.  Its
module imports torch, mmengine and mmdet after it has read its arguments, so
that ``--help`` does not wait for them.
"""
from .main import COMMANDS, main

__all__ = ['COMMANDS', 'main']
