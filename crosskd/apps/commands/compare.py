"""The command that compares trained detectors."""
import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from .endings import told_without_traceback


def run_compare(argv: Sequence[str], prog: str) -> None:
    """Compare work directories.

    Raises:
        SystemExit: they cannot be compared.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Compare trained detectors on their test set: a table '
        '(printed as Markdown), curves, and a page with pictures of where '
        'they differ. Each checkpoint is evaluated once; the result is kept '
        'in compare/ of its work directory.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example (after training both):\n'
        f'  {prog} work_dirs/gfl_r18_own_data '
        'work_dirs/crosskd_r18_r50_own_data')
    parser.add_argument(
        'work_dirs', nargs='+', metavar='WORK_DIR',
        help='of a training; several that differ by seed only are one row')
    parser.add_argument(
        '--out', default='compare', metavar='DIR',
        help='folder that gets compare.html, compare.json, curves.png and '
        'pictures.png (default: compare)')
    parser.add_argument('--names', nargs='+', metavar='NAME',
                        help='one for each row (default: the folders)')
    parser.add_argument('--checkpoint', choices=('last', 'best'),
                        default='last', help='default: last')
    parser.add_argument('--classes', action='store_true',
                        help='print the AP of each class, too')
    parser.add_argument('--images', type=int, default=30, metavar='N',
                        help='pictures in the page (default: 30)')
    parser.add_argument(
        '--score', type=float, default=0.3, metavar='S',
        help='detections below are not drawn (default: 0.3)')
    args = parser.parse_args(argv)
    if args.images < 0 or not 0 <= args.score < 1:
        parser.error('expected --images of 0 or more and --score of 0 to 1, '
                     f'found {args.images} and {args.score}')
    with told_without_traceback(
            prog, 'stopped; the same command continues from here'):
        # what mmdet and mmengine print is no part of the table
        with redirect_stdout(sys.stderr):
            # not for other commands: it imports mmdet's models
            from ..compare import compare, format_table
            rows = compare(args.work_dirs, args.out, args.names,
                           args.checkpoint, args.images, args.score)
    print(format_table(rows, args.classes))
    print(f'\nPage: {Path(args.out, "compare.html").resolve()}',
          file=sys.stderr)
