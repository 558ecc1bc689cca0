"""The train command: mmdet's, with the Runner of this package."""
from collections.abc import Sequence

from ...errors import ConfigValueError
from .endings import told_without_traceback
from .flags import CONFIG, parser_of


def run_train(argv: Sequence[str], prog: str) -> None:
    """Train a detector, distilled or not."""
    parser = parser_of(
        prog, 'Train the detector of a config, with or without a teacher.',
        f'example (replace the config by your own):\n'
        f'  {prog} crosskd::crosskd/{CONFIG}.py')
    parser.add_argument('--amp', action='store_true',
                        help='train with automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true',
        help='scale the learning rate by the number of images in a step')
    parser.add_argument(
        '--resume', nargs='?', const='auto', metavar='CHECKPOINT',
        help='continue a stopped training from this checkpoint (default: from '
        'the last one in the work directory)')
    args = parser.parse_args(argv)
    from ...engine.runner import DistillationRunner
    from .running import build_runner, config_of
    with told_without_traceback(
            prog, 'interrupted; to continue from the last checkpoint, run the '
            'same command with --resume', with_type=True):
        cfg = config_of(args)
        if args.amp:
            cfg.optim_wrapper.type = 'AmpOptimWrapper'
            cfg.optim_wrapper.loss_scale = 'dynamic'
        if args.auto_scale_lr:
            scale = cfg.get('auto_scale_lr') or {}
            if not {'enable', 'base_batch_size'} <= scale.keys():
                raise ConfigValueError(
                    f'--auto-scale-lr: auto_scale_lr={scale!r} in the config; '
                    "expected a dict with 'enable' and 'base_batch_size', "
                    'the number of images in a step for which the learning '
                    'rate was chosen')
            cfg.auto_scale_lr.enable = True
        if args.resume is not None:
            cfg.resume = True
            cfg.load_from = None if args.resume == 'auto' else args.resume
        build_runner(cfg, DistillationRunner).train()
