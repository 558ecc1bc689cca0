"""What configs/ says of itself, for people and for programs, is true."""
import re
import shlex
from pathlib import Path

import mmdet
import pytest
import yaml
from mmengine.config import Config
from mmengine.config.utils import _get_cfg_metainfo

from conftest import REPO
from crosskd.configs import find_config

pytestmark = pytest.mark.torch_only

ROOT = REPO / 'configs'
# what others inherit, and nobody trains
SHARED = {'demo/shapes_detection.py'}
CONFIGS = sorted(
    name for name in (p.relative_to(ROOT).as_posix()
                      for p in ROOT.rglob('*.py'))
    if name not in SHARED and not name.startswith('_base_/'))
FOLDERS = sorted({name.partition('/')[0] for name in CONFIGS})
BY_FEATURES = ('pkd', 'cwd', 'mgd', 'fgd')
FIGURE = r'\d\d\.\d'


def read(path):
    return yaml.safe_load((REPO / path).read_text())


METAFILES = {folder: read(f'configs/{folder}/metafile.yml')
             for folder in FOLDERS}
MODELS = [pytest.param(folder, model, id=model['Name'])
          for folder in FOLDERS for model in METAFILES[folder]['Models']]


def cells(line):
    return [cell.strip() for cell in line.strip().strip('|').split('|')]


def configs_on_page(folder):
    """The files that the list of configs in a README links to."""
    text = (ROOT / folder / 'README.md').read_text()
    return re.findall(r'^\| \[(.+)\]\((.+)\) \|', text, re.M)


def recipes():
    """What docs/recipes.md says of a config: {path: (text, row)}."""
    text = (REPO / 'docs/recipes.md').read_text()
    found = {}
    for table in re.findall(
            r'^\| student \|.*?(?=\n\n)', text, re.M | re.S):
        header, _, *rows = table.splitlines()
        for line in rows:
            row = dict(zip(cells(header), cells(line), strict=True))
            for cell in row.values():
                for said, path in re.findall(r'\[(.+)\]\(../(.+)\)', cell):
                    assert found.setdefault(path, (said, row))[1] is row, path
    return found


def ap_in_mmdets_zoo(path):
    metafile = Path(mmdet.__file__).parent.joinpath(
        '.mim/configs', path).with_name('metafile.yml')
    models = (yaml.safe_load(metafile.read_text())['Models']
              if metafile.is_file() else [])
    found = [result['Metrics']['box AP'] for model in models
             if model['Config'] == f'configs/{path}'
             for result in model['Results'] if 'box AP' in result['Metrics']]
    return found[0] if found else '–'


def test_the_index_names_the_metafile_of_each_folder():
    assert read('model-index.yml') == dict(
        Import=[f'configs/{folder}/metafile.yml' for folder in FOLDERS])


def test_each_config_is_in_one_metafile_and_on_its_page():
    named = [model['Config'] for meta in METAFILES.values()
             for model in meta['Models']]
    assert sorted(named) == [f'configs/{name}' for name in CONFIGS]
    listed = []
    for folder in FOLDERS:
        for name, file in configs_on_page(folder):
            assert file == f'{name}.py'
            listed.append(f'{folder}/{file}')
    assert sorted(listed) == CONFIGS


def test_the_table_of_recipes_has_each_config_for_coco():
    assert sorted(recipes()) == [
        f'configs/{name}' for name in CONFIGS if name.endswith('_coco.py')]


@pytest.mark.parametrize('folder', FOLDERS)
def test_a_collection_is_described(folder):
    (collection, ) = METAFILES[folder]['Collections']
    # modelindex looks for it beside the metafile
    assert (ROOT / folder / collection['README']).is_file()
    assert collection['Metadata']['Training Data']
    assert collection['Paper']['Title']
    assert re.fullmatch(r'https://arxiv.org/abs/\d{4}\.\d{5}',
                        collection['Paper']['URL'])


def test_names_are_unique():
    for key in ('Collections', 'Models'):
        names = [one['Name'] for meta in METAFILES.values()
                 for one in meta[key]]
        assert len(names) == len(set(names))


@pytest.mark.parametrize('folder, model', MODELS)
def test_a_model_is_what_its_config_says(folder, model):
    cfg = Config.fromfile(REPO / model['Config'])
    assert model['Config'] == f'configs/{folder}/{model["Name"]}.py'
    assert model['In Collection'] == (
        METAFILES[folder]['Collections'][0]['Name'])
    meta = model['Metadata']
    assert (meta['Training Data'] == 'COCO') == model['Name'].endswith('_coco')
    if 'Epochs' in meta:
        assert meta['Epochs'] == cfg.train_cfg.max_epochs
    # own_data names the file beside it, which loading makes a whole path
    teacher = cfg.model.get('teacher_config')
    assert meta.get('Teacher') == (
        teacher and teacher.removeprefix(f'{ROOT / folder}/'))
    if model['Name'].endswith('_coco'):
        path = teacher.removeprefix('mmdet::')
        _, row = recipes()[model['Config']]
        name, _, ap = row['teacher, its AP'].partition(', ')
        assert ap == str(ap_in_mmdets_zoo(path))
        assert row['epochs'].split(',')[0] == str(cfg.train_cfg.max_epochs)
        page = (REPO / 'docs/recipes.md').read_text()
        assert (f'| {name} | `{teacher}` |' in page
                or f'- {name}: `{teacher}`\n' in page)


@pytest.mark.parametrize('folder, model', MODELS)
def test_a_figure_says_whose_it_is(folder, model):
    """Nobody can take the published ones for ours, here or on the page."""
    said, _ = recipes().get(model['Config'], ('config', {}))
    results = model.get('Results', [])
    assert [str(result['Metrics']['box AP']) for result in results] == (
        re.findall(FIGURE, said))
    assert results or said == 'config'
    for result in results:
        assert result['Task'] == 'Object Detection'
        assert result['Dataset'] == model['Metadata']['Training Data']
    source = model['Metadata'].get('Results Source', '')
    assert source.startswith('published' if results else '')
    assert bool(source) == bool(results)
    if results:  # published, so the page names the paper or the model zoo
        where = re.search(r'\((.+)\)', source)[1]
        paper = re.match(r'arXiv ([\d.]+)', where)
        text = (REPO / 'docs/recipes.md').read_text()
        assert (f'https://arxiv.org/abs/{paper[1]}' if paper
                else where) in text
        assert 'not ours' in text


@pytest.mark.parametrize('path', [
    path for path in recipes() if path.split('/')[1] in BY_FEATURES])
def test_a_student_alone_is_that_of_mmdets_zoo(path):
    """Trained for as long, from the config that the recipe inherits."""
    student = re.search(r"'mmdet::(.+?)'", (REPO / path).read_text())[1]
    same = Config.fromfile(REPO / path).train_cfg.max_epochs == (
        Config.fromfile(find_config(f'mmdet::{student}')).train_cfg.max_epochs)
    # FCOS has another head than that config
    assert recipes()[path][1]['alone'] == (
        str(ap_in_mmdets_zoo(student))
        if same and 'fcos_r101' not in path else '–')


@pytest.mark.parametrize('folder', ['', *FOLDERS])
def test_links_lead_somewhere(folder):
    text = (ROOT / folder / 'README.md').read_text()
    links = re.findall(r'\]\((?!http)([^)#]+)', text)
    assert links
    for link in links:
        assert (ROOT / folder / link).exists(), link


@pytest.mark.parametrize('folder', FOLDERS)
def test_commands_can_be_typed(folder):
    """Scripts and configs are there, and checkpoints are of those runs."""
    text = (ROOT / folder / 'README.md').read_text()
    commands = [
        shlex.split(line)
        for block in re.findall('```bash\n(.+?)```', text, re.S)
        for line in block.replace('\\\n', ' ').splitlines()]
    assert commands
    trained = {}
    for words in commands:
        for word in words:
            if word.startswith('tools/'):
                assert (REPO / word).is_file(), word
            elif word.endswith('.py'):
                path = re.sub('^my_configs', 'configs/own_data', word)
                cfg = Config.fromfile(REPO / path)
                trained[REPO.joinpath(path).stem] = cfg.train_cfg.max_epochs
            elif word.startswith('work_dirs/'):
                name, epoch = re.fullmatch(
                    r'work_dirs/([^/]+)(?:/epoch_(\d+)\.pth)?', word).groups()
                assert trained[name] == int(epoch or trained[name])


def test_the_index_of_configs_names_each_folder():
    text = (ROOT / 'README.md').read_text()
    for folder in FOLDERS:
        assert f'[{folder}]({folder}/README.md)' in text
    assert '`_base_`' in text


@pytest.mark.parametrize('name', CONFIGS)
def test_mmengine_finds_a_config_through_the_index(name):
    """As ``mmengine.hub.get_config('crosskd::…')`` looks it up."""
    found = _get_cfg_metainfo(str(REPO / 'crosskd'), name)
    assert found['Config'] == f'configs/{name}'


def test_readme_has_the_figures_of_the_recipes():
    """The two places of the paper's figures say the same."""
    text = (REPO / 'README.md').read_text()
    rows = [cells(line) for line in text.splitlines()
            if re.match(r'\| [\w-]+, ResNet', line)]
    assert len(rows) == 5
    known = [(row['student'], row['teacher, its AP'], row['alone'], said)
             for said, row in recipes().values()]
    for student, alone, crosskd, teacher in rows:
        assert (student.replace(', ResNet-', '-R'),
                teacher.replace(', ResNet-', '-R').replace(':', ','),
                alone, crosskd.strip('*')) in known
