"""The command that runs the demo."""
import argparse
from collections.abc import Sequence

from .endings import told_without_traceback


def run_demo_command(argv: Sequence[str], prog: str) -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Try everything in a few minutes, without a GPU: generate '
        'a small data set, train\na teacher, train a student once without '
        'and once with the teacher, and compare\nthe three.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} --dir demo --seed 1')
    parser.add_argument(
        '--dir', default='.',
        help='folder for data/ and work_dirs/ (default: the current '
        'directory)')
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed of all trainings '
        '(default: 0)')
    parser.add_argument(
        '--quick', action='store_true',
        help='run all steps in about two minutes, to see that they work; '
        'the AP then means nothing')
    args = parser.parse_args(argv)
    with told_without_traceback(
            prog, 'stopped; run the same command again to continue'):
        # imported here because --help needs no torch
        from ..demo import run_demo
        run_demo(args.dir, args.seed, args.quick)
