"""The command that exports a trained student."""
import argparse
import shlex
from collections.abc import Sequence

from .endings import told_without_traceback
from .flags import add_changes, config_file

MIB = 2**20
SAID = dict(
    ema='exported the EMA weights, which validation used; to export the raw '
    'weights, add --weights raw',
    raw='exported the raw weights; validation used the EMA weights')


def run_export_command(argv: Sequence[str], prog: str) -> None:
    """Export a student.

    Raises:
        SystemExit: the student cannot be exported.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Write a trained student as an ordinary MMDetection '
        'config and checkpoint,\nOUT/student.py and OUT/student.pth. '
        'MMDetection loads them without crosskd.\nOnly the student is '
        'exported: no teacher, channel adapters or optimizer.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} my_student.py \\\n'
        '      work_dirs/my_student/epoch_12.pth exported --onnx')
    parser.add_argument('config', metavar='CONFIG',
                        help='config file that the student was trained with')
    parser.add_argument('checkpoint', metavar='CHECKPOINT',
                        help='checkpoint that the training wrote')
    parser.add_argument(
        'out', metavar='OUT',
        help='folder for the files; an earlier export in it is replaced')
    parser.add_argument(
        '--onnx', action='store_true',
        help='also write OUT/student.onnx, which takes normalised images and '
        "returns the head's outputs, and check with onnxruntime that they "
        'match those of PyTorch')
    parser.add_argument(
        '--onnx-size', nargs=2, type=int, metavar=('H', 'W'),
        help='write OUT/student.onnx for single images of this height and '
        'width; Swin needs this (default: any number of images of any size)')
    parser.add_argument(
        '--weights', choices=('ema', 'raw'),
        help='if the training used an EMAHook: export the averaged weights, '
        'which validation used (ema, the default), or the raw weights (raw)')
    add_changes(parser, {})
    args = parser.parse_args(argv)
    # imported here because it imports mmdet's models
    from mmdet.utils import register_all_modules

    from ...configs import read_config
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
    config, checkpoint, *onnx = done.files
    print(f'{config}: an ordinary MMDetection config')
    print(f'{checkpoint}: {done.after / MIB:.1f} MiB (the training checkpoint '
          f'had {done.before / MIB:.1f} MiB)')
    if done.weights:
        print(f'  {SAID[done.weights]}')
    if done.difference is not None:
        size = onnx[0].stat().st_size / MIB
        print(f'{onnx[0]}: {size:.1f} MiB; its outputs in onnxruntime differ '
              f"from PyTorch's by at most {done.difference:.0e}")
    print(f'Next, evaluate it:\n  python -m crosskd test '
          f'{shlex.join(map(str, (config, checkpoint)))}')
