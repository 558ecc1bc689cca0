"""The test command: mmdet's."""
from collections.abc import Sequence
from typing import Any

from .endings import told_without_traceback
from .flags import CONFIG, parser_of


def run_test(argv: Sequence[str], prog: str) -> None:
    """Evaluate a trained detector."""
    parser = parser_of(
        prog, 'Evaluate a trained detector.',
        f'example (after training):\n  {prog} \\\n      '
        f'crosskd::crosskd/{CONFIG}.py \\\n      '
        f'work_dirs/{CONFIG}/epoch_12.pth')
    parser.add_argument('checkpoint',
                        help='checkpoint that the training wrote')
    parser.add_argument(
        '--out', metavar='FILE.pkl',
        help='write all predictions to this file')
    parser.add_argument('--show', action='store_true',
                        help='show the predictions on the screen')
    parser.add_argument(
        '--show-dir', help='write pictures of the predictions to this folder, '
        'in work_dir/TIMESTAMP')
    parser.add_argument('--wait-time', type=float, default=2,
                        help='seconds for which --show shows each picture '
                        '(default: 2)')
    parser.add_argument(
        '--tta', action='store_true',
        help='use test-time augmentation: predict on several versions of '
        'each image, and merge the predictions')
    args = parser.parse_args(argv)
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out must be a .pkl or .pickle file, found {args.out}')
    from mmengine.runner import Runner

    from .running import build_runner, config_of
    with told_without_traceback(prog, with_type=True):
        cfg = config_of(args)
        cfg.load_from = args.checkpoint
        if args.show or args.show_dir:
            from mmdet.engine.hooks.utils import trigger_visualization_hook
            cfg = trigger_visualization_hook(cfg, args)
        if args.tta:
            _augment(cfg)
        runner = build_runner(cfg, Runner)
        if args.out:
            # mmdet's evaluation warns about missing packages on import
            from mmdet.evaluation import DumpDetResults
            runner.test_evaluator.metrics.append(
                DumpDetResults(out_file_path=args.out))
        runner.test()


def _augment(cfg: Any) -> None:
    """Test with ``tta_model`` and ``tta_pipeline``.

    By default each image is tested twice, once of them flipped.
    """
    from mmengine.config import ConfigDict
    dataset = cfg.test_dataloader.dataset
    if 'tta_model' not in cfg:
        cfg.tta_model = dict(type='DetTTAModel', tta_cfg=dict(
            nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
    if 'tta_pipeline' not in cfg:
        inner = dataset
        while 'dataset' in inner:
            inner = inner['dataset']
        packed = dict(type='PackDetInputs', meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
            'flip', 'flip_direction'))
        flips = [dict(type='RandomFlip', prob=prob) for prob in (1.0, 0.0)]
        cfg.tta_pipeline = [*inner.pipeline[:-1], dict(
            type='TestTimeAug', transforms=[flips, [packed]])]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline
