"""The command that trains and compares what a folder of configs asks for."""
import argparse
from collections.abc import Sequence

from .endings import told_without_traceback


def run_distil(argv: Sequence[str], prog: str) -> None:
    """Train teacher and student, and compare them.

    Raises:
        SystemExit: something cannot be trained or compared.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Train the teacher, then the student with its help, and '
        'compare them. FOLDER is what make_config --data has written. '
        'The command trains on all visible GPUs (CUDA_VISIBLE_DEVICES chooses '
        'them), or on the CPU. You can stop it at any time: the same command '
        'continues from the last checkpoint.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} my_detector --alone')
    parser.add_argument(
        'folder', metavar='FOLDER',
        help='folder with distilled.py, student.py and, unless you have a '
        'trained teacher, teacher.py; gets work_dirs/ and compare/')
    parser.add_argument(
        '--alone', action='store_true',
        help='also train student.py, the student without a teacher, to see '
        'what the teacher adds')
    args = parser.parse_args(argv)
    with told_without_traceback(
            prog, 'stopped; the same command continues from here'):
        # not for --help: it imports torch
        from ..distil import distil
        distil(args.folder, args.alone)
