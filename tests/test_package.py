"""Installation: what must be there, and what travels inside the package."""
import importlib
import os
import subprocess
import sys
import types

import pytest
from mmengine.config import Config

from conftest import REPO
from crosskd import dependencies


@pytest.mark.parametrize('name', ['torch', 'mmengine', 'mmcv', 'mmdet'])
def test_a_missing_package_is_named_with_its_cure(name, monkeypatch):
    real = importlib.import_module

    def fake(wanted, *args):
        if wanted == name:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
        return real(wanted, *args)

    monkeypatch.setattr(importlib, 'import_module', fake)
    with pytest.raises(ImportError, match=f'needs {name} >= .*pip install'):
        dependencies.check_dependencies()


def test_an_old_package_is_named_with_its_version(monkeypatch):
    real = importlib.import_module
    old = types.SimpleNamespace(__version__='2.28.2')
    monkeypatch.setattr(
        importlib, 'import_module',
        lambda name, *args: old if name == 'mmdet' else real(name, *args))
    with pytest.raises(ImportError, match='mmdet >= 3.3, found 2.28.2'):
        dependencies.check_dependencies()


def test_a_broken_package_shows_its_own_error(monkeypatch):

    def fake(name, *args):
        raise ModuleNotFoundError("No module named 'libfoo'", name='libfoo')

    monkeypatch.setattr(importlib, 'import_module', fake)
    with pytest.raises(ModuleNotFoundError, match='libfoo'):
        dependencies.check_dependencies()


def test_configs_and_tools_travel_inside_the_package(tmp_path):
    subprocess.run([sys.executable, 'setup.py', '-q', 'build', '--build-base',
                    tmp_path / 'base', '--build-lib', tmp_path / 'lib'],
                   cwd=REPO, check=True)
    inside = tmp_path / 'lib/crosskd/.mim'
    for folder in ('configs', 'tools'):
        expected = [p.relative_to(REPO) for p in (REPO / folder).rglob('*')
                    if p.is_file() and '__pycache__' not in p.parts]
        assert expected
        for path in expected:
            assert (inside / path).read_bytes() == (REPO / path).read_bytes()
    assert (inside / 'model-index.yml').is_file()


def test_configs_are_inherited_by_package_name(tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(
        "_base_ = 'crosskd::crosskd/"
        "crosskd_r50_gflv1_r101-2x-ms_fpn_1x_coco.py'\n"
        'model = dict(kd_cfg=dict(reused_teacher_head_idx=2))\n')
    cfg = Config.fromfile(child)
    assert cfg.model.type == 'CrossKDGFL'
    assert cfg.model.kd_cfg.reused_teacher_head_idx == 2
    assert cfg.model.kd_cfg.loss_reg_kd.loss_weight == 4.0
    assert cfg.model.bbox_head.num_classes == 80


def test_a_gpu_is_hidden_from_the_tests():
    """In a child of its own, as the tools' runs are children of the tests."""
    code = ("import os, torch; assert not torch.cuda.is_available()\n"
            "print(os.environ['CUDA_VISIBLE_DEVICES'] or 'hidden')")
    if os.environ.get('CROSSKD_TEST_GPU'):
        pytest.skip('CROSSKD_TEST_GPU is set')
    out = subprocess.run([sys.executable, '-c', code], check=True, text=True,
                         capture_output=True)
    assert out.stdout.strip() == 'hidden'
