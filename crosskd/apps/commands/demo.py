"""The command that runs the demo."""
import argparse
from collections.abc import Sequence

from .endings import told_without_traceback


def run_demo_command(argv: Sequence[str], prog: str) -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Try everything in a few minutes, without a GPU: generate '
        'a small data set,\ntrain a teacher, train one student alone and one '
        'with the teacher, and compare\nthem.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} --dir demo --seed 1')
    parser.add_argument(
        '--dir', default='.',
        help='folder for data/ and work_dirs/ (default: the working '
        'directory)')
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed of all trainings '
        '(default: 0)')
    parser.add_argument(
        '--quick', action='store_true',
        help='run all steps in about two minutes; the AP then means nothing')
    args = parser.parse_args(argv)
    with told_without_traceback(
            prog, 'stopped; the same command continues from here'):
        # not for other commands: it takes matplotlib's windows away
        from ..demo import run_demo
        run_demo(args.dir, args.seed, args.quick)
