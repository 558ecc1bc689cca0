"""The command that trains and compares the detectors of a folder."""
import argparse
from collections.abc import Sequence

from .endings import told_without_traceback


def run_distil(argv: Sequence[str], prog: str) -> None:
    """Train teacher and student, and compare them.

    Raises:
        SystemExit: a training or the comparison failed.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Train the teacher, then train the student with its help, '
        'and compare the two.\nFOLDER is the folder that make_config --data '
        'wrote.\n\nTraining uses all visible GPUs (choose them with '
        'CUDA_VISIBLE_DEVICES), or the\nCPU if there is none. You can stop '
        'at any time: run the same command again to\ncontinue from the last '
        'checkpoint.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} my_detector --alone')
    parser.add_argument(
        'folder', metavar='FOLDER',
        help='folder with distilled.py, student.py and teacher.py (no '
        'teacher.py if your teacher is already trained). Results go to '
        'work_dirs/ and compare/ in it')
    parser.add_argument(
        '--alone', action='store_true',
        help='also train the student without a teacher (student.py), to see '
        'how much the teacher helps')
    args = parser.parse_args(argv)
    with told_without_traceback(
            prog, 'stopped; run the same command again to continue'):
        # imported here because --help needs no torch
        from ..distil import distil
        distil(args.folder, args.alone)
