"""Shared fixtures."""
import gc
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before torch looks; children inherit it. docs/developing.md says why.
if os.environ.get('CROSSKD_TEST_GPU'):
    os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':4096:8'
else:
    os.environ['CUDA_VISIBLE_DEVICES'] = ''

import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent / 'lib'))

import crosskd  # noqa: E402, F401  # first: it may stand in for mmcv._ext

# isort: split
from fast_start import fast_start  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402

from crosskd.apps.demo import shapes  # noqa: E402

register_all_modules()
fast_start()
torch.set_num_threads(1)  # the models are small, and tests run side by side

REPO = Path(__file__).parent.parent


def pytest_collection_finish() -> None:
    """Tests that collect garbage need not look at what was imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session')
def shapes_root(tmp_path_factory) -> Path:
    """A folder with ``data/shapes``: twelve training and six other images."""
    root = tmp_path_factory.mktemp('shapes')
    data = root / 'data' / 'shapes'
    scene = shapes.Scene(  # boxes of all sizes in few images
        sizes=((14, 31, 0.45), (34, 64, 0.45), (98, 120, 0.10)),
        objects=(2, 6), strokes=(1, 6), noise=(2, 10), hues=22)
    shapes.generate(data, 'train', 12, side=64, scene=scene)
    annotations = shapes.generate(data, 'val', 6, side=64, scene=scene)
    assert json.loads(annotations.read_text())['annotations']
    return root


@pytest.fixture(scope='session')
def project(shapes_root) -> Path:
    """Configs of a teacher, a plain and a distilled student; one training."""
    from experiments import experiment, model_cfg, write
    from helpers import distiller_cfg, plain_cfg
    from tool_server import run
    write(shapes_root / 'teacher.py',
          experiment(model_cfg(plain_cfg('gfl', 16)), epochs=1))
    write(shapes_root / 'plain.py', experiment(model_cfg(plain_cfg('gfl'))))
    distilled = model_cfg(distiller_cfg('gfl'))
    distilled.update(teacher_config='teacher.py',
                     teacher_ckpt='work_dirs/teacher/epoch_1.pth')
    write(shapes_root / 'distilled.py', experiment(distilled))
    run('train.py', 'teacher.py', cwd=shapes_root)
    out = run('train.py', 'distilled.py', cwd=shapes_root)
    assert re.search(r'loss_cls_kd: [\d.]+ ', out)
    return shapes_root


@pytest.fixture
def in_shapes_root(shapes_root, monkeypatch) -> None:
    """The test runs in the folder of the generated images."""
    monkeypatch.chdir(shapes_root)


@pytest.fixture
def log(caplog) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged while a test runs."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, logger.name)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope='module')
def ranks(tmp_path_factory) -> Iterator[Callable]:
    """Two processes that train together; jobs are given to them."""
    from ranks import Ranks
    started = Ranks(tmp_path_factory.mktemp('ranks'))
    yield started
    started.stop()
