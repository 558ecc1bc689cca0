"""The command that exports a trained student."""
import argparse
import sys
from collections.abc import Sequence

from mmengine.config import Config, DictAction

from ..user_errors import readable
from .mmdet_tools import config_file

MIB = 2**20


def run_export_command(argv: Sequence[str], prog: str) -> None:
    """Export a student.

    Raises:
        SystemExit: it cannot be exported.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Write a trained student as a plain mmdet config and '
        'checkpoint, which mmdet loads without this package: OUT/student.py '
        'and OUT/student.pth. What only training needs (optimizer, message '
        'hub, channel adapters, teacher) is left out.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} my_student.py '
        'work_dirs/my_student/epoch_12.pth exported --onnx')
    parser.add_argument('config', help='that it was trained with')
    parser.add_argument('checkpoint', help='that the training wrote')
    parser.add_argument('out', help='folder for the files')
    parser.add_argument(
        '--onnx', action='store_true',
        help='also OUT/student.onnx, from normalised images to the maps of '
        'the head, compared with onnxruntime')
    parser.add_argument(
        '--raw', action='store_true',
        help='where EMAHook averaged the weights: those that were trained '
        '(default: the averages, which were validated)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={},
        metavar='KEY=VALUE', help='changes to the config')
    args = parser.parse_args(argv)
    # not for other commands: it imports mmdet's models
    from mmdet.utils import register_all_modules

    from ..export import export_student
    register_all_modules()
    try:
        cfg = Config.fromfile(config_file(args.config))
        cfg.merge_from_dict(args.cfg_options)
        done = export_student(cfg, args.checkpoint, args.out, args.raw,
                              args.onnx)
    except Exception as e:
        wrong = readable(e)
        if wrong is e and wrong.__traceback__ is not None:
            raise  # not about what was asked for
        sys.exit(f'{prog}: {wrong}')
    print(f'{done.config}\n{done.checkpoint}: {done.after / MIB:.1f} MiB, '
          f'from {done.before / MIB:.1f}'
          + (', averaged weights (EMA)' if done.averaged else ''))
    if done.onnx:
        print(f'{done.onnx}: differs from torch by {done.difference:.0e} of '
              'the largest value of a map')
