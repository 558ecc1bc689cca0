"""The train command: mmdet's, with the Runner of this package."""
from collections.abc import Sequence

from ...errors import ConfigValueError
from .endings import told_without_traceback
from .flags import CONFIG, parser_of


def run_train(argv: Sequence[str], prog: str) -> None:
    """Train a detector, distilled or not."""
    parser = parser_of(
        prog, 'Train the detector of a config, with or without a teacher.',
        f'example (your own config works, too):\n'
        f'  {prog} crosskd::crosskd/{CONFIG}.py')
    parser.add_argument('--amp', action='store_true',
                        help='train in automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true',
        help='scale the learning rate to the number of images in a step')
    parser.add_argument(
        '--resume', nargs='?', const='auto', metavar='CHECKPOINT',
        help='continue a training from this checkpoint (default: from the '
        'last one in the work directory)')
    args = parser.parse_args(argv)
    from ...engine.runner import DistillationRunner
    from .running import build_runner, config_of
    with told_without_traceback(
            prog, 'interrupted; the same command with --resume continues '
            'from the last checkpoint', with_type=True):
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
                    'the images in a step that its learning rate is for')
            cfg.auto_scale_lr.enable = True
        if args.resume is not None:
            cfg.resume = True
            cfg.load_from = None if args.resume == 'auto' else args.resume
        build_runner(cfg, DistillationRunner).train()
