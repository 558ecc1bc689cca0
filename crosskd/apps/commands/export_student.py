"""The command that exports a trained student."""
import argparse
from collections.abc import Sequence

from mmengine.config import DictAction

from ...configs import read_config
from .endings import told_without_traceback
from .running import config_file

MIB = 2**20
SAID = dict(
    ema='the averaged weights (EMA), which are what was validated; '
    '--weights raw for the others',
    raw='the weights as they were trained, not the averaged ones (EMA), which '
    'were validated')


def run_export_command(argv: Sequence[str], prog: str) -> None:
    """Export a student.

    Raises:
        SystemExit: it cannot be exported.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Write a trained student as a plain mmdet config and '
        'checkpoint,\nOUT/student.py and OUT/student.pth, which mmdet loads '
        'without this package.\nWhat only training needs is left out: '
        'teacher, channel adapters, optimizer,\nmessage hub.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} my_student.py '
        'work_dirs/my_student/epoch_12.pth exported --onnx')
    parser.add_argument('config', metavar='CONFIG',
                        help='that the student was trained with')
    parser.add_argument('checkpoint', metavar='CHECKPOINT',
                        help='that the training wrote')
    parser.add_argument(
        'out', metavar='OUT',
        help='folder for the files; those of an earlier export are replaced')
    parser.add_argument(
        '--onnx', action='store_true',
        help='also write OUT/student.onnx, from normalised images to the maps '
        'of the head, and compare it with torch in onnxruntime')
    parser.add_argument(
        '--onnx-size', nargs=2, type=int, metavar=('H', 'W'),
        help='write OUT/student.onnx for one image at a time, of this height '
        'and width only; Swin needs it (default: any number, any size)')
    parser.add_argument(
        '--weights', choices=('ema', 'raw'),
        help='of a training with EMAHook: the averaged weights, which were '
        'validated (the default), or those that were trained')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={},
        metavar='KEY=VALUE', help='changes to the config')
    args = parser.parse_args(argv)
    # not for other commands: it imports mmdet's models
    from mmdet.utils import register_all_modules

    from ..export import export_student
    register_all_modules(init_default_scope=False)
    with told_without_traceback(
            prog, 'interrupted; nothing was written'):
        done = export_student(
            read_config(config_file(args.config), 'CONFIG',
                        options=args.cfg_options),
            args.checkpoint, args.out, args.weights,
            args.onnx or bool(args.onnx_size),
            onnx_size=tuple(args.onnx_size) if args.onnx_size else None)
    print(f'{done.files[0]}: the plain config')
    print(f'{done.files[1]}: {done.after / MIB:.1f} MiB, before '
          f'{done.before / MIB:.1f} MiB')
    if done.weights:
        print(f'  {SAID[done.weights]}')
    if done.difference is not None:
        size = done.files[2].stat().st_size / MIB
        print(f'{done.files[2]}: {size:.1f} MiB, in onnxruntime within '
              f"{done.difference:.0e} of torch's outputs")
