"""Shared fixtures."""
import json
import os
import re
import sys
from pathlib import Path

import pytest

# Before torch looks; children inherit it. docs/testing.md says why.
if os.environ.get('CROSSKD_TEST_GPU'):
    os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':4096:8'
else:
    os.environ['CUDA_VISIBLE_DEVICES'] = ''

import torch  # noqa: E402

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / 'lib'), *(
    str(room) for room in HERE.iterdir() if room.is_dir())]

import crosskd  # noqa: E402, F401  # first: it may stand in for mmcv._ext

# isort: split
from fast_start import fast_start  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402

from crosskd.apps.demo import shapes  # noqa: E402

register_all_modules()
fast_start()
torch.set_num_threads(1)  # the models are small, and tests run side by side

REPO = Path(__file__).parent.parent


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
