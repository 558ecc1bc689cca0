"""Installation: what must be there, and what travels inside the package."""
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import types

import pytest
import yaml
from mmengine.config import Config
from sources import SOURCES

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
    with pytest.raises(ImportError, match=f'needs {name} >= .*pip install '
                       + ('torch' if name == 'torch' else 'onedl-mmcv')
                       ) as error:
        dependencies.check_dependencies()
    assert 'crosskd[' not in str(error.value)  # in no package index


def test_the_cure_installs_what_setup_asks_for():
    text = (REPO / 'setup.py').read_text()
    for stack in ('onedl', 'openmmlab'):
        asked = re.search(rf"'{stack}':(.*?)\],", text, re.S)[1]
        assert tuple(re.findall(r"'([\w-]*mm\w+(?:-\w+)?==[\d.]+)'", asked)
                     ) == getattr(dependencies, stack.upper())


def test_the_console_script_is_the_command():
    text = (REPO / 'setup.py').read_text()
    name, module, function = re.search(
        r"console_scripts': \['(\w+) = ([\w.]+):(\w+)'\]", text).groups()
    assert (name, module) == ('crosskd', 'crosskd.__main__')
    assert callable(getattr(importlib.import_module(module), function))


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


OF_A_CHECKOUT = {'env.sh', 'run_tests.sh', 'demo.sh'}
MB = 1_000_000


def setup(*args, cwd, ok=True):
    done = subprocess.run(
        [sys.executable, 'setup.py', '-q', *map(str, args)], cwd=cwd,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode == 0) == ok, done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def without_links(tmp_path_factory):
    """A checkout where git wrote links as files that say where they point."""
    folder = tmp_path_factory.mktemp('checkout')
    for name in SOURCES:
        if (REPO / name).is_dir():
            shutil.copytree(
                REPO / name, folder / name, symlinks=True,
                ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(REPO / name, folder / name)
    for name in ('configs', 'tools', 'model-index.yml'):
        link = folder / 'crosskd/.mim' / name
        assert link.is_symlink()
        link.unlink()
        link.write_text(f'../../{name}')
    return folder


def check_complete(built):
    """All configs and tools are there, and nothing for checkouts alone."""
    inside = built / 'crosskd/.mim'
    for folder in ('configs', 'tools'):
        expected = {p.relative_to(REPO) for p in (REPO / folder).rglob('*')
                    if p.is_file() and '__pycache__' not in p.parts
                    and p.name not in OF_A_CHECKOUT}
        found = {p.relative_to(inside) for p in (inside / folder).rglob('*')
                 if p.is_file()}
        assert expected and found == expected
        for path in expected:
            assert (inside / path).read_bytes() == (REPO / path).read_bytes()
    index = 'model-index.yml'
    assert (inside / index).read_bytes() == (REPO / index).read_bytes()
    # without it type checkers pass over the package
    assert (built / 'crosskd/py.typed').is_file()


@pytest.mark.parametrize('links', [True, False])
def test_configs_and_tools_travel_inside_the_package(
        tmp_path, without_links, links):
    setup('build', '--build-base', tmp_path / 'base', '--build-lib',
          tmp_path / 'lib', cwd=REPO if links else without_links)
    check_complete(tmp_path / 'lib')
    assert os.listdir(tmp_path / 'lib') == ['crosskd']


def test_a_source_distribution_is_complete(tmp_path, without_links):
    setup('sdist', '--formats', 'zip', '--dist-dir', tmp_path,
          cwd=without_links)
    (archive, ) = tmp_path.glob('*.zip')
    shutil.unpack_archive(archive, tmp_path)
    folder = tmp_path / archive.stem
    for name in SOURCES:
        for path in [p for p in (REPO / name).rglob('*') if p.is_file()
                     and '__pycache__' not in p.parts] or [REPO / name]:
            path = path.relative_to(REPO)
            if '.mim' not in path.parts:
                assert (folder / path).is_file(), path
    assert not (folder / 'results').exists()
    setup('build', '--build-base', tmp_path / 'base', '--build-lib',
          tmp_path / 'lib', cwd=folder)
    check_complete(tmp_path / 'lib')


def test_what_is_tracked_is_light():
    """So that a clone is: trained weights and such stay outside."""
    if not (REPO / '.git').exists():
        pytest.skip('no checkout of git')
    files = subprocess.run(['git', 'ls-files', '-z'], cwd=REPO, text=True,
                           check=True, capture_output=True).stdout
    sizes = {name: (REPO / name).lstat().st_size
             for name in files.split('\0')
             if name and os.path.lexists(REPO / name)}
    largest = sorted(sizes, key=sizes.__getitem__)[-3:]
    assert sum(sizes.values()) < 9 * MB, largest


def test_a_source_distribution_is_light(tmp_path, without_links):
    """Of a whole checkout, which has trainings and their records."""
    shutil.copytree(without_links, tmp_path / 'copy', symlinks=True)
    (tmp_path / 'copy/results').mkdir()
    for name in ('run.py', 'shapes.jsonl', 'teacher.pth'):
        (tmp_path / 'copy/results' / name).touch()
    setup('sdist', '--formats', 'gztar', '--dist-dir', tmp_path,
          cwd=tmp_path / 'copy')
    (archive, ) = tmp_path.glob('*.tar.gz')
    assert archive.stat().st_size < 2.5 * MB
    with tarfile.open(archive) as files:
        names = [name.partition('/')[2] for name in files.getnames()]
    assert 'docs/results.md' in names
    assert not [name for name in names
                if re.match('results/|.*[.](pth|jsonl)$', name)]


def test_an_editable_installation_says_that_it_needs_links(
        tmp_path, without_links):
    out = setup('editable_wheel', '--dist-dir', tmp_path, cwd=without_links,
                ok=False)
    assert re.search('not a link to configs/.*symbolic links.*'
                     'Install without -e', out.replace('\n', ' '))
    assert not list(tmp_path.glob('*.whl'))


def test_an_incomplete_copy_of_the_sources_is_an_error(
        tmp_path, without_links):
    shutil.copytree(without_links, tmp_path / 'copy')
    shutil.rmtree(tmp_path / 'copy/configs')
    out = setup('build', cwd=tmp_path / 'copy', ok=False)
    assert 'copy/configs is missing' in out


@pytest.mark.parametrize('name, stack', [
    ('constraints.txt', 'onedl'), ('constraints-openmmlab.txt', 'openmmlab')])
def test_constraints_agree_with_what_setup_asks_for(name, stack):
    pins = dict(
        line.partition(';')[0].split('==')
        for line in (REPO / name).read_text().splitlines()
        if not line.startswith('#'))
    text = (REPO / 'setup.py').read_text()
    asked = re.search(rf"'{stack}':(.*?)\],", text, re.S)[1]
    for package, version in re.findall(r"([\w-]+)==([\w.]+)", asked):
        assert pins[package] == version
    assert {'torch', 'numpy', 'pytest', 'pytest-xdist',
            'hypothesis'} < pins.keys()
    assert not any('+' in version for version in pins.values())
    if stack == 'onedl':
        for line in (REPO / 'requirements.txt').read_text().splitlines():
            if not line.startswith('#'):
                package, version = line.split('==')
                assert pins[package] == version


DOWNSTREAM = """
import torch
from mmengine.config import Config

from crosskd.detectors import CrossKDGFL, CrossKDSingleStageDetector
from crosskd.engine.hooks import SkipNonFiniteHook
from crosskd.heads import HeadAdapter, adapter_of
from crosskd.losses import KDQualityFocalLoss, SDDLoss, sdd_loss
from crosskd.engine.runner import DistillationRunner


class MyLoss(KDQualityFocalLoss):

    def forward(self, pred: torch.Tensor, target: torch.Tensor,
                weight: torch.Tensor | None = None,
                avg_factor: float | None = None,
                reduction_override: str | None = None) -> torch.Tensor:
        return 2 * super().forward(pred, target, weight, avg_factor,
                                   reduction_override)


class MyDetector(CrossKDSingleStageDetector):
    required = ('loss_cls_kd', )


def scores(detector: CrossKDGFL, outputs: list[list[torch.Tensor]]
           ) -> list[torch.Tensor]:
    head: HeadAdapter = detector.head_adapter
    return [level.sigmoid() for level in head.named(
        outputs, training=False)['cls']]


maps = torch.zeros(1, 2, 4, 4)
loss: torch.Tensor = sdd_loss(maps, maps, scales=(1, 2))
scales: tuple[int, ...] = SDDLoss(base='kd', loss_weight=1.0).scales
runner: DistillationRunner = DistillationRunner.from_cfg(Config())
hook = SkipNonFiniteHook(max_in_a_row=10)

# where there were no types, these would be no errors to ignore
SkipNonFiniteHook(max_in_a_row='ten')  # type: ignore[arg-type]
sdd_loss(maps)  # type: ignore[call-arg]
KDQualityFocalLoss(gamma=2)  # type: ignore[call-arg]
scales = adapter_of(maps)  # type: ignore
number: int = loss  # type: ignore[assignment]
"""


@pytest.mark.slow
def test_a_type_checker_follows_our_types_in_a_project(tmp_path):
    """The package as it is built, in an environment of its own."""
    pytest.importorskip('mypy')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip',
                    tmp_path / 'venv'], check=True)
    (site, ) = (tmp_path / 'venv').glob('lib/python*/site-packages')
    setup('build', '--build-base', tmp_path / 'base', '--build-lib', site,
          cwd=REPO)
    # torch and mmdet, after the package
    (site / 'rest.pth').write_text(sysconfig.get_path('purelib'))
    (tmp_path / 'project').mkdir()
    (tmp_path / 'project/mine.py').write_text(DOWNSTREAM)
    done = subprocess.run(
        [sys.executable, '-m', 'mypy', '--strict', '--ignore-missing-imports',
         '--python-executable', tmp_path / 'venv/bin/python', 'mine.py'],
        cwd=tmp_path / 'project', text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def test_the_version_stands_in_every_place():
    import crosskd
    citation = yaml.safe_load((REPO / 'CITATION.cff').read_text())
    assert citation['version'] == crosskd.__version__
    headings = re.findall(r'^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$',
                          (REPO / 'CHANGELOG.md').read_text(), re.M)
    assert headings[:2] == ['Unreleased', crosskd.__version__]


def test_the_python_versions_are_those_that_the_workflow_tests():
    workflow = yaml.safe_load((REPO / '.github/workflows/ci.yml').read_text())
    tested = workflow['jobs']['tests']['strategy']['matrix']['python']
    text = (REPO / 'setup.py').read_text()
    assert re.findall(r'Python :: (3\.\d+)', text) == tested
    assert re.search(r"python_requires='>=(.+)'", text)[1] == tested[0]
    runs = [step.get('run', '') for job in workflow['jobs'].values()
            for step in job['steps']]
    commands = [run.split()[0] for run in runs if run.startswith(('.', 't'))]
    assert commands == ['.ci/run', 'tools/run_tests.sh']
    assert all(os.access(REPO / command, os.X_OK) for command in commands)


@pytest.mark.slow
def test_the_bug_form_asks_for_versions_with_a_command_that_works(tmp_path):
    form = yaml.safe_load(
        (REPO / '.github/ISSUE_TEMPLATE/bug.yml').read_text())
    (asked, ) = [part for part in form['body'] if part.get('id') == 'versions']
    command = re.search('`(.+)`', asked['attributes']['description'])[1]
    found = subprocess.run(
        shlex.split(command), cwd=tmp_path, text=True, capture_output=True,
        env={**os.environ, 'PYTHONPATH': str(REPO)}, check=True).stdout
    for name in ('crosskd', 'mmcv', 'Python', 'PyTorch', 'MMEngine',
                 'MMDetection'):
        assert re.search(rf'^{name}: \d+\.\d+', found, re.M), found


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
