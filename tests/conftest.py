"""Shared fixtures."""
import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import crosskd  # noqa: E402, F401  # first: it may stand in for mmcv._ext

# isort: split
from mmdet.utils import register_all_modules  # noqa: E402

from crosskd.demo import shapes  # noqa: E402

register_all_modules()
torch.set_num_threads(2)

REPO = Path(__file__).parent.parent


@pytest.fixture(scope='session')
def shapes_root(tmp_path_factory) -> Path:
    """A folder with ``data/shapes``: twelve training and six other images."""
    root = tmp_path_factory.mktemp('shapes')
    data = root / 'data' / 'shapes'
    shapes.generate(data, 'train', 12, side=64)
    annotations = shapes.generate(data, 'val', 6, side=64)
    assert json.loads(annotations.read_text())['annotations']
    return root
