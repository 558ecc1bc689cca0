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
        SystemExit: the detectors cannot be compared.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Compare trained detectors on their test set: AP, gain '
        'and how certain it is,\nsize, speed, objects gained and lost, types '
        'of wrong boxes, training curves, and\npictures of images on which '
        'the detectors differ. Each checkpoint is evaluated\nonce; the result '
        'is kept in the folder compare/ of its work directory.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example (after training the student with and without a '
        'teacher):\n'
        f'  {prog} \\\n      work_dirs/gfl_r50_own_data '
        'work_dirs/gfl_r18_own_data \\\n'
        '      work_dirs/crosskd_r18_r50_own_data')
    parser.add_argument(
        'work_dirs', nargs='+', metavar='WORK_DIR',
        help='work directory of a training; runs that differ only in the '
        'seed are averaged into one row')
    parser.add_argument(
        '--baseline', metavar='WORK_DIR_OR_NAME',
        help='show the gain of every other detector over this one (default: '
        'show the gain of each distilled detector over the detector of the '
        'same class and size that was trained without a teacher)')
    parser.add_argument(
        '--out', default='compare', metavar='DIR',
        help='folder for compare.html, compare.json, curves.png and '
        'pictures.png (default: compare)')
    parser.add_argument(
        '--names', nargs='+', metavar='NAME',
        help='names of the rows (default: the folder names)')
    parser.add_argument(
        '--checkpoint', choices=('last', 'best'), default='last',
        help='which checkpoint to evaluate (default: last)')
    parser.add_argument('--classes', action='store_true',
                        help='also print the AP of each class')
    parser.add_argument(
        '--images', type=int, default=30, metavar='N',
        help='number of test images on the page (default: 30)')
    parser.add_argument(
        '--score', type=float, default=0.3, metavar='S',
        help='draw boxes with a higher score than this, and count them as '
        'right or wrong; AP uses all boxes (default: 0.3)')
    args = parser.parse_args(argv)
    if args.images < 0 or not 0 <= args.score < 1:
        parser.error('expected --images of 0 or more and --score of 0 to 1, '
                     f'found {args.images} and {args.score}')
    with told_without_traceback(
            prog, 'stopped; run the same command again to continue'):
        # what mmdet and mmengine print is not part of the report
        with redirect_stdout(sys.stderr):
            # imported here because it imports mmdet's models
            from ..compare import compare, format_report
            rows = compare(args.work_dirs, args.out, args.names,
                           args.checkpoint, args.images, args.score,
                           args.baseline)
    print(format_report(rows, args.classes))
    print(f'\nPage: {Path(args.out, "compare.html").resolve()}',
          file=sys.stderr)
