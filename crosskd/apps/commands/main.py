"""Choosing a command of ``crosskd``."""
import io
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from ...dependencies import DependencyError
from ...names import did_you_mean
from ...version import __version__

NAME = 'crosskd'
HELP = ('-h', '--help')
ABOUT = """\
crosskd trains a small object detector with the help of a large one
(knowledge distillation), on MMDetection 3.x.
"""


class Command(NamedTuple):
    """One command.

    Attributes:
        where: the module in this folder and its function, which takes the
            arguments and the words that it was called with.
        help: what the command does, in a sentence.
        registers: whether the package is registered before it runs.
    """
    where: str
    help: str
    registers: bool = True

    @property
    def run(self) -> Callable[[Sequence[str], str], None]:
        """The function."""
        module, _, name = self.where.partition(':')
        return getattr(import_module(f'.{module}', __package__), name)


GROUPS = {
    'Start': {
        'demo': Command(
            'demo:run_demo_command',
            'Try everything on a small generated data set.'),
        'make_config': Command(
            'make_config:run_make_config',
            'Write the configs that train a student with a teacher.'),
        'distil': Command(
            'distil:run_distil',
            'Train a teacher and a student, and compare them.'),
    },
    'Train and test': {
        'train': Command(
            'train:run_train',
            'Train a detector, with or without a teacher.'),
        'test': Command(
            'test:run_test', 'Evaluate a trained detector.'),
        'dist_train': Command(
            'scripts:run_dist_train',
            'Train on several GPUs, or with several processes on CPUs.',
            registers=False),
        'dist_test': Command(
            'scripts:run_dist_test',
            'Evaluate on several GPUs, or with several processes on CPUs.',
            registers=False),
        'slurm_train': Command(
            'scripts:run_slurm_train', 'Train on a Slurm cluster.',
            registers=False),
        'slurm_test': Command(
            'scripts:run_slurm_test', 'Evaluate on a Slurm cluster.',
            registers=False),
    },
    'Look at the results': {
        'compare': Command(
            'compare:run_compare',
            'Compare trained detectors, in a table and a page with pictures.'),
        'benchmark': Command(
            'benchmark:run_benchmark_command',
            'Measure how much time and memory a training step takes.'),
    },
    'Use the student elsewhere': {
        'export': Command(
            'export_student:run_export_command',
            'Export the student as an ordinary MMDetection model or as ONNX.'),
    },
    'Other tools': {
        'mmdet': Command(
            'mmdet_tools:run_mmdet',
            'Run another tool of MMDetection, such as get_flops.py.',
            registers=False),  # it does this itself: a tool has its own help
    },
}
COMMANDS = {name: command for group in GROUPS.values()
            for name, command in group.items()}
ALIASES = {'distill': 'distil'}


def main(argv: Sequence[str], prog: str | None = None) -> None:
    """Run a command.

    Args:
        argv: the command's name and its arguments.
        prog: how the command was called, if not by its name.

    Raises:
        SystemExit: with 2 if there is no such command; with a message if a
            package that crosskd needs is missing.
    """
    for stream in (sys.stdout, sys.stderr):
        # a character that the terminal cannot show must not end a run
        if isinstance(stream, io.TextIOWrapper) and stream.errors == 'strict':
            stream.reconfigure(errors='backslashreplace')
    called = _called()
    given = argv[0] if argv else None
    name = ALIASES.get(given or '', given)
    if name in HELP:
        print(_help(called))
    elif name == '--version':
        print(f'{NAME} {__version__}')
    elif name in COMMANDS:
        _run(COMMANDS[name], argv[1:], prog or f'{called} {given}')
    else:
        found = 'no command'
        if given is not None:
            found += f' {given!r}{did_you_mean(given, COMMANDS)}'
        end = '' if found.endswith('?') else '.'
        print(f'{called}: {found}{end} The commands are '
              f'{", ".join(COMMANDS)}; see --help', file=sys.stderr)
        sys.exit(2)


def _run(command: Command, argv: Sequence[str], prog: str) -> None:
    # --help needs nothing of what is imported here
    if command.registers and not {*HELP} & {*argv}:
        try:
            import_module(f'{NAME}.registration')
        except DependencyError as e:
            sys.exit(f'{prog}: {e}')
    command.run(argv, prog)


def _called() -> str:
    """How the commands were called: by the script, or as a module."""
    script = Path(*sys.argv[:1]).name
    return NAME if script == NAME else f'python -m {NAME}'


def _help(called: str) -> str:
    groups = [
        '\n'.join([f'{title}:', *(f'  {name:<12} {command.help}'
                                  for name, command in group.items())])
        for title, group in GROUPS.items()]
    return '\n\n'.join([
        f'usage: {called} COMMAND [arguments]', ABOUT.strip(), *groups,
        'Help with one command, and an example: '
        f'{called} COMMAND --help\nVersion: {called} --version'])
