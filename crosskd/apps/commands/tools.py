"""The demo, and other tools of mmdet's."""
import argparse
import sys
from collections.abc import Sequence

from .endings import told_without_traceback
from .mmdet_tools import available, run
from .running import CONFIG


def run_demo_command(argv: Sequence[str], prog: str) -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Distil a small detector on generated images; see README.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} --dir demo --seed 1')
    parser.add_argument(
        '--dir', default='.',
        help='folder that gets data/ and work_dirs/ (default: here)')
    parser.add_argument(
        '--seed', type=int, default=0, help='of all trainings (default: 0)')
    parser.add_argument(
        '--quick', action='store_true',
        help='all stages in about two minutes; AP means nothing then')
    args = parser.parse_args(argv)
    with told_without_traceback(
            prog, 'stopped; the same command continues from here'):
        # not for other commands: it takes matplotlib's windows away
        from ..demo import run_demo
        run_demo(args.dir, args.seed, args.quick)


def run_mmdet(argv: Sequence[str], prog: str) -> None:
    """Run another tool of mmdet's, or say which there are.

    Raises:
        SystemExit: with 2 where there is no such tool.
    """
    tools = available()
    name = argv[0] if argv else '--help'
    if name in ('-h', '--help'):
        print(
            f'usage: {prog} TOOL [arguments]\n\nRun a tool that comes with '
            'mmdet, with crosskd registered. TOOL --help shows\nits arguments.'
            f'\n\nexample:\n  {prog} analysis_tools/get_flops.py '
            f'crosskd::crosskd/{CONFIG}.py\n\ntools:\n  ',
            '\n  '.join(tools), sep='')
    elif name in tools:
        run(name, argv[1:], f'{prog} {name}')
    else:
        print(f'{prog}: mmdet has no tool {name!r}; it has\n  ',
              '\n  '.join(tools), sep='', file=sys.stderr)
        sys.exit(2)
