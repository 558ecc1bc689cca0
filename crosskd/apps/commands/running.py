"""The config and the Runner of the train and the test command."""
import argparse
import os
from pathlib import Path

from mmdet.registry import RUNNERS
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config
from mmengine.runner import Runner

from ...compat.cpu_ranks import use_gloo
from ...compat.mmengine_checkpoints import restrict_mmengine
from ...configs import read_config


def config_of(args: argparse.Namespace) -> Config:
    """The config, changed by the flags that both commands have."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    setup_cache_size_limit_of_dynamo()
    cfg = read_config(args.config, 'CONFIG', options=args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('./work_dirs', Path(args.config).stem)
    return cfg


def build_runner(cfg: Config, default: type[Runner]) -> Runner:
    """The Runner that a config names, or the default.

    It loads checkpoints through the allow-list, and its processes communicate
    through gloo if there is no GPU.
    """
    restrict_mmengine()
    use_gloo(cfg, cfg.launcher)
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return default.from_cfg(cfg)
