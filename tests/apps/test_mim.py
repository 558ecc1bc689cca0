"""``mim train crosskd`` and ``mim test crosskd``, of openmim."""
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from experiments import same_weights
from processes import has_openmim
from sources import SOURCES
from tool_output import metrics
from tool_server import run as tool

import crosskd
from conftest import REPO

MIM = Path(crosskd.__file__).parent / '.mim'


def test_mim_does_not_take_the_tools_for_old_ones(tmp_path):
    """It adds a flag that mmdet 3 has not, where --help speaks of --gpus."""
    for name in ('train.py', 'test.py'):
        assert (MIM / 'tools' / name).is_file()
        assert '--gpus' not in tool(name, '-h', cwd=tmp_path)


def test_mim_finds_a_config_by_its_file_name():
    """It looks below the package for the name alone."""
    names = Counter(p.name for p in (MIM / 'configs').rglob('*.py'))
    assert names and set(names.values()) == {1}


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The package as it is installed, not in editable mode."""
    folder = tmp_path_factory.mktemp('installed')
    for name in SOURCES:
        copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
        copy(REPO / name, folder / 'sources' / name)
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps',
         '--no-build-isolation', '--target', folder / 'site',
         folder / 'sources'], check=True)
    return folder / 'site'


@pytest.mark.slow
@pytest.mark.skipif(not has_openmim(), reason='openmim is not installed')
@pytest.mark.parametrize('ranks', [[], ['--launcher', 'pytorch', '--gpus', 2]])
def test_mim_trains_and_tests(project, installed, tmp_path, ranks):

    def mim(*args):
        done = subprocess.run(
            [Path(sys.executable).parent / 'mim', *map(str, args)],
            cwd=project, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={
                **os.environ, 'OMP_NUM_THREADS': '1',
                'PYTHONPATH': str(installed)})
        assert done.returncode == 0, done.stdout[-3000:]
        assert str(installed / 'crosskd/.mim/tools') in done.stdout
        return done.stdout

    mim('train', 'crosskd', 'distilled.py', '--work-dir', tmp_path, *ranks)
    path = tmp_path / 'epoch_2.pth'
    if not ranks:
        assert same_weights(path, project / 'work_dirs/distilled/epoch_2.pth')
    out = mim('test', 'crosskd', 'distilled.py', '--checkpoint', path, *ranks)
    assert metrics(out) == metrics(
        tool('test.py', 'distilled.py', path, cwd=project))


@pytest.mark.slow
@pytest.mark.skipif(not has_openmim(), reason='openmim is not installed')
def test_mim_says_what_it_runs(installed):
    """The config by its file name; no data, so training ends at once."""
    name = 'crosskd_r18_gflv1_r50_fpn_1x_coco.py'
    out = subprocess.run(
        [Path(sys.executable).parent / 'mim', 'train', 'crosskd', name],
        cwd=installed, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, 'PYTHONPATH': str(installed)}).stdout
    file = installed / 'crosskd/.mim/configs/crosskd' / name
    assert f'will use {file.resolve()} instead' in out
