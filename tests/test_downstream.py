"""Our configs inherited by package name, in a scope of another project's.

``slow_downstream.py`` does the same without a scope.
"""
import re
from pathlib import Path

import pytest

from conftest import REPO
from downstream import PACKAGE, SMALL, child, make_project
from tool_server import run as tool

# mmengine reads no '+' in a package path
CONFIGS = sorted(
    p.relative_to(REPO / 'configs').as_posix()
    for p in (REPO / 'configs').rglob('*.py')
    if p.parent.name != '_base_' and '+' not in p.parent.name
    and p.stem != 'shapes_detection')  # a base without a backbone's width
TEACHERS = dict(
    gflv1='mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    retinanet='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    atss='mmdet::atss/atss_r50_fpn_1x_coco.py',
    fcos='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A project's folder, with small teachers of all families."""
    folder = tmp_path_factory.mktemp('project')
    make_project(folder)
    for name, base in {**TEACHERS, 'own_data': TEACHERS['gflv1']}.items():
        (folder / f'teacher_{name}.py').write_text(
            f'_base_ = {base!r}\n{SMALL}')
    return folder


def of_a_teacher(config):
    """Changes for a config that names a teacher: a small one."""
    if not re.search('crosskd|sdd', config):
        return ''
    if 'shapes' in config:  # the demo's own is small
        return "model = dict(teacher_ckpt='random')"
    family = next(f for f in (*TEACHERS, 'own_data') if f in config)
    return (f"model.update(teacher_config='teacher_{family}.py', "
            "teacher_ckpt='random')")


@pytest.mark.parametrize('config', CONFIGS)
def test_a_child_of_every_config_trains(shapes_root, folder, tmp_path,
                                        config):
    train_a_child(shapes_root, folder, tmp_path, config, PACKAGE)


def train_a_child(shapes_root, folder, tmp_path, config, scope):
    """One epoch of a config that inherits one of ours by package name."""
    name = f'{Path(config).stem}_{scope}.py'
    small = {} if 'shapes' not in config else dict(small='')
    (folder / name).write_text(child(
        f'crosskd::{config}', shapes_root / 'data/shapes', scope,
        of_a_teacher(config), **small))
    out = tool('train.py', name, '--work-dir', tmp_path, cwd=folder,
               env=dict(PYTHONPATH=str(folder)))
    assert re.search(r'Epoch\(train\) +\[1\]\[3/3\]', out)
    assert ('_kd' in out or 'loss_sdd' in out) == bool(of_a_teacher(config))
    assert (tmp_path / 'epoch_1.pth').is_file()
