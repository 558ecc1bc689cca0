"""Checking, in a separate process, a training that starts hours later.

``python -m crosskd.apps.distil.checking CONFIG`` builds and checks all that a
training needs, as at the start of a training, and trains nothing.
"""
import sys
import tempfile
from collections.abc import Sequence

from mmdet.registry import RUNNERS
from mmengine.config import Config

from ...engine.runner import DistillationRunner
from ...errors import ConfigError, describe, for_users

CHECKPOINT = 'teacher_ckpt'


def main(argv: Sequence[str]) -> None:
    """Check a config.

    Raises:
        SystemExit: it cannot be trained; the message says why.
    """
    cfg = Config.fromfile(argv[0])
    if CHECKPOINT in cfg.model:
        cfg.model[CHECKPOINT] = 'random'  # the teacher is not trained yet
    with tempfile.TemporaryDirectory() as scratch:
        cfg.update(work_dir=scratch, launcher='none', resume=False)
        runner = (RUNNERS.build(cfg) if 'runner_type' in cfg else
                  DistillationRunner.from_cfg(cfg))
        if isinstance(runner, DistillationRunner):
            runner.prepare_training()


if __name__ == '__main__':
    try:
        with for_users():
            main(sys.argv[1:])
    except ConfigError as e:
        sys.exit(describe(e))
