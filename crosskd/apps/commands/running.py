"""What the train and the test command share: flags, config, the Runner."""
import argparse
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from mmdet.registry import RUNNERS
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from ...compat.cpu_ranks import use_gloo
from ...compat.mmengine_checkpoints import restrict_mmengine

CONFIG = 'crosskd_r18_gflv1_r50_fpn_1x_coco'


def parser_of(prog: str, description: str,
              example: str) -> argparse.ArgumentParser:
    """A parser with the flags that mmdet's train and test tool both have.

    Args:
        prog: how the command was called.
        description: what it does, in one sentence.
        example: end of its ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=description, epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config', type=config_file,
        help="the config: a path, or a package's ('crosskd::crosskd/….py')")
    parser.add_argument(
        '--work-dir', help='folder for logs, checkpoints and metrics '
        "(default: the config's work_dir, or work_dirs/NAME_OF_THE_CONFIG)")
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='change keys of the config, such as train_cfg.max_epochs=1. '
        'Lists: key="[a,b]" or key=a,b; nested ones: key="[(a,b),(c,d)]", '
        'with the quotation marks and without spaces')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none', help='what started the processes (default: none)')
    # torch's launcher says --local-rank since 2.0, and before --local_rank
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='given by the launcher')
    return parser


def read_config(args: argparse.Namespace) -> Config:
    """The config, with what the flags that both tools have say of it."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    setup_cache_size_limit_of_dynamo()
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('./work_dirs', Path(args.config).stem)
    return cfg


def build_runner(cfg: Config, default: type[Runner]) -> Runner:
    """The Runner that a config names, or the default.

    It loads checkpoints through the allow-list, and its processes communicate
    by gloo where there are no GPUs.
    """
    restrict_mmengine()
    use_gloo(cfg, cfg.launcher)
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return default.from_cfg(cfg)


def config_file(word: str) -> str:
    """The file of ``'package::….py'``; another argument is left as it is."""
    named = re.fullmatch(r'(\w+)::(.+\.py)', word)
    if not named:
        return word
    spec = find_spec(named[1])
    if spec is None or not spec.origin:
        sys.exit(f'{word}: there is no package {named[1]}')
    file = Path(spec.origin).parent / '.mim' / 'configs' / named[2]
    if not file.is_file():
        sys.exit(f'{word}: no such config; looked for {file}')
    return str(file)
