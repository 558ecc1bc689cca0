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

pytestmark = pytest.mark.torch_only

ROOT = REPO / 'configs'
# what others inherit, and nobody trains
SHARED = {'demo/shapes_detection.py'}
CONFIGS = sorted(
    name for name in (p.relative_to(ROOT).as_posix()
                      for p in ROOT.rglob('*.py'))
    if name not in SHARED and not name.startswith('_base_/'))
FOLDERS = sorted({name.partition('/')[0] for name in CONFIGS})
FIGURE = r'\d\d\.\d'


def read(path):
    return yaml.safe_load((REPO / path).read_text())


METAFILES = {folder: read(f'configs/{folder}/metafile.yml')
             for folder in FOLDERS}
MODELS = [pytest.param(folder, model, id=model['Name'])
          for folder in FOLDERS for model in METAFILES[folder]['Models']]


def table(folder):
    """The rows of the table of configs in a README, as lists of cells."""
    lines = (ROOT / folder / 'README.md').read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in lines if line.startswith('|')]
    assert [cell for cell in rows[0] if 'published' in cell]
    assert len({len(row) for row in rows}) == 1
    return rows[0], rows[2:]


def row_of(folder, name):
    header, rows = table(folder)
    (row, ) = [row for row in rows if row[0] == f'[{name}]({name}.py)']
    return header, row


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


def test_each_config_is_in_one_metafile_and_one_table():
    named = [model['Config'] for meta in METAFILES.values()
             for model in meta['Models']]
    assert sorted(named) == [f'configs/{name}' for name in CONFIGS]
    rows = [f'{folder}/{re.search(r"[(](.+)[)]$", row[0])[1]}'
            for folder in FOLDERS for row in table(folder)[1]]
    assert sorted(rows) == CONFIGS


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
        _, row = row_of(folder, model['Name'])
        assert f'(`{path}`), {ap_in_mmdets_zoo(path)}' in row[2]
        assert row[3].startswith(f'{cfg.train_cfg.max_epochs // 12}x')


@pytest.mark.parametrize('folder, model', MODELS)
def test_a_figure_says_whose_it_is(folder, model):
    """Nobody can take the published ones for ours, here or in the table."""
    header, row = row_of(folder, model['Name'])
    figures = {title: re.findall(FIGURE, cell)
               for title, cell in zip(header, row, strict=True)
               if 'published' in title or 'ours' in title}
    stated = [figure for title, found in figures.items() for figure in found
              if 'alone' not in title]
    results = model.get('Results', [])
    assert [str(result['Metrics']['box AP']) for result in results] == stated
    for result in results:
        assert result['Task'] == 'Object Detection'
        assert result['Dataset'] == model['Metadata']['Training Data']
    source = model['Metadata'].get('Results Source', '')
    assert source.startswith('published' if results else '')
    assert bool(source) == bool(results)
    if results:  # published, so the page that it is from is there
        paper = re.search(r'arXiv (\S+)\)', source)[1]
        text = (ROOT / folder / 'README.md').read_text()
        assert f'https://arxiv.org/abs/{paper}' in text
        assert 'not ours' in text


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
                    r'work_dirs/(.+)/epoch_(\d+)\.pth', word).groups()
                assert trained[name] == int(epoch)


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
