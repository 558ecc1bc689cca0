"""The command that measures what distillation costs."""
import argparse
import json
from collections.abc import Sequence

from mmengine.config import DictAction

from .endings import told_without_traceback
from .running import config_file

CONFIG = 'crosskd::crosskd/crosskd_r18_gflv1_r50_fpn_1x_coco.py'


def run_benchmark_command(argv: Sequence[str], prog: str) -> None:
    """Measure a config.

    Raises:
        SystemExit: it cannot be measured.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Measure a step of a distilled detector beside that of '
        'the student alone and the forward of the teacher alone, on random '
        'images. No data set and no checkpoint is opened.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} {CONFIG} --size 416 608 --batch 2')
    parser.add_argument('config', help='of a distilled detector')
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'),
        help='of the images (default: the largest scale of the training '
        'pipeline)')
    parser.add_argument(
        '--batch', type=int, metavar='N',
        help='images a step (default: train_dataloader.batch_size)')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument('--amp', action='store_true',
                        help='mixed precision, as of the train tool')
    parser.add_argument('--threads', type=int, metavar='N',
                        help="torch's threads (default: its own choice)")
    parser.add_argument('--repeats', type=int, default=5, metavar='N',
                        help='rounds that count (default: 5)')
    parser.add_argument('--no-memory', action='store_true',
                        help='leave out what takes processes of its own')
    parser.add_argument('--json', action='store_true',
                        help='print all of it as JSON, and nothing else')
    parser.add_argument('--png', metavar='FILE',
                        help='draw the parts into a file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={},
        metavar='KEY=VALUE', help='changes to the config')
    args = parser.parse_args(argv)
    # not for other commands: it imports mmdet's models
    from ..benchmark import Setting, draw, format_table, run_benchmark
    with told_without_traceback(prog):
        result = run_benchmark(
            Setting(
                config_file(args.config), args.cfg_options,
                tuple(args.size) if args.size else None, args.batch,
                args.device, args.amp, args.threads, args.repeats),
            memory=not args.no_memory)
    if args.png:
        draw(result, args.png)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print(format_table(result))
