"""Choosing a command of ``python -m crosskd``."""
import io
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from .benchmark import run_benchmark_command
from .compare import run_compare
from .distil import run_distil
from .export_student import run_export_command
from .make_config import run_make_config
from .scripts import run_script
from .test import run_test
from .tools import run_demo_command, run_mmdet
from .train import run_train

PROG = 'python -m crosskd'


class Command(NamedTuple):
    """One command.

    Attributes:
        run: takes the arguments and the words it was called with.
        help: what it does, in one line.
    """
    run: Callable[[Sequence[str], str], None]
    help: str


COMMANDS = {
    'demo': Command(
        run_demo_command,
        'draw a small data set, train, distil and compare'),
    'distil': Command(
        run_distil, 'train teacher and student of a folder, and compare them'),
    'distill': Command(run_distil, 'the same as distil'),
    'train': Command(run_train, 'train a detector, distilled or not'),
    'test': Command(run_test, 'evaluate a trained detector'),
    'dist_train': Command(
        partial(run_script, 'dist_train.sh'),
        'train on several GPUs, or processes where there are none'),
    'dist_test': Command(
        partial(run_script, 'dist_test.sh'),
        'evaluate on several GPUs, or processes where there are none'),
    'slurm_train': Command(
        partial(run_script, 'slurm_train.sh'), 'train on a Slurm cluster'),
    'slurm_test': Command(
        partial(run_script, 'slurm_test.sh'), 'evaluate on a Slurm cluster'),
    'compare': Command(
        run_compare,
        'compare trained detectors: table, curves, page with pictures'),
    'make_config': Command(
        run_make_config,
        'write a distillation config for two plain ones'),
    'benchmark': Command(
        run_benchmark_command,
        'measure what a distilled step costs, part by part'),
    'export': Command(
        run_export_command,
        'write a trained student as plain mmdet, or ONNX'),
    'mmdet': Command(
        run_mmdet,
        "run another tool of mmdet's, such as its log curves"),
}


def main(argv: Sequence[str], prog: str | None = None) -> None:
    """Run a command.

    Args:
        argv: the command's name and its arguments.
        prog: how the command was called, if not by its name.

    Raises:
        SystemExit: with 2 where there is no such command.
    """
    for stream in (sys.stdout, sys.stderr):
        # a terminal that does not know a character ends no run
        if isinstance(stream, io.TextIOWrapper) and stream.errors == 'strict':
            stream.reconfigure(errors='backslashreplace')
    name = argv[0] if argv else None
    if name in ('-h', '--help'):
        lines = [f'  {n:<12} {c.help}' for n, c in COMMANDS.items()]
        print(f'usage: {PROG} COMMAND [arguments]\n\n', '\n'.join(lines),
              '\n\nCOMMAND --help shows its arguments and an example.',
              sep='')
    elif name in COMMANDS:
        COMMANDS[name].run(argv[1:], prog or f'{PROG} {name}')
    else:
        found = f'no command {name!r}' if name else 'no command'
        print(f'{PROG}: {found}; there are {", ".join(COMMANDS)} and --help',
              file=sys.stderr)
        sys.exit(2)
