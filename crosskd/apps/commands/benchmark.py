"""The command that measures what distillation costs."""
import argparse
import json
from collections.abc import Sequence

from .endings import told_without_traceback
from .flags import add_changes, config_file

CONFIG = 'crosskd::crosskd/crosskd_r18_gflv1_r50_fpn_1x_coco.py'


def run_benchmark_command(argv: Sequence[str], prog: str) -> None:
    """Measure a config.

    Raises:
        SystemExit: the config cannot be measured.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Measure how much time and memory a training step of a '
        'distilled detector takes,\ncompared with a step of the student '
        'without a teacher and one pass of the\nteacher. The images are '
        'random: you need neither a data set nor a checkpoint.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  {prog} \\\n      {CONFIG} \\\n'
        '      --size 416 608 --batch 2')
    parser.add_argument('config', help='config file of a distilled detector')
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'),
        help='height and width of the images (default: the largest scale of '
        'the training pipeline)')
    parser.add_argument(
        '--batch', type=int, metavar='N',
        help='number of images in a step (default: '
        'train_dataloader.batch_size)')
    parser.add_argument('--device', default='cpu',
                        help='where to measure, such as cuda (default: cpu)')
    parser.add_argument('--amp', action='store_true',
                        help='measure with automatic mixed precision, '
                        'like train --amp')
    parser.add_argument('--threads', type=int, metavar='N',
                        help='number of CPU threads (default: torch decides)')
    parser.add_argument('--repeats', type=int, default=5, metavar='N',
                        help='number of measurements (default: 5)')
    parser.add_argument('--no-memory', action='store_true',
                        help='do not measure memory (faster)')
    parser.add_argument('--json', action='store_true',
                        help='print all results as JSON')
    parser.add_argument('--png', metavar='FILE',
                        help='write a chart of the times to this file')
    add_changes(parser, {})
    args = parser.parse_args(argv)
    # imported here because it imports mmdet's models
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
