"""The site of docs/: what is on its pages, and that it builds."""
import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
import yaml
from feature_teachers import need_timm
from helpers import build, distiller_cfg
from mmdet.models.detectors import FasterRCNN
from mmdet.registry import HOOKS, MODELS
from mmengine.config import Config
from pages import PAGES

from conftest import REPO
from crosskd.apps.recipes.choosing import recipe_of
from crosskd.configs import find_config
from crosskd.detectors import (
    CrossKDSingleStageDetector,
    DistillationMixin,
    distilled_class,
)
from crosskd.heads import HeadAdapter
from crosskd.registry import DISTILLERS, HEAD_ADAPTERS, REGIONS, SCHEDULES

pytestmark = pytest.mark.torch_only

DOCS = REPO / 'docs'
REGISTERED = {
    f'{thing.__module__}.{thing.__name__}': (name, thing)
    for registry in (MODELS, HOOKS, DISTILLERS, REGIONS, HEAD_ADAPTERS,
                     SCHEDULES)
    for name, thing in registry.module_dict.items()
    if thing.__module__.startswith('crosskd.')}


def navigation():
    """The pages that mkdocs.yml lists, and their names in the menu."""
    # by itself, because the rest has tags of mkdocs
    _, key, nav = (REPO / 'mkdocs.yml').read_text().rpartition('\nnav:')
    found, left = {}, [*yaml.safe_load(key + nav)['nav']]
    while left:
        (name, part), = left.pop().items()
        if isinstance(part, str):
            found[part] = name
        else:
            left.extend(part)
    return found


def test_every_page_is_in_the_navigation():
    pages = [p.relative_to(DOCS).as_posix() for p in DOCS.rglob('*.md')]
    listed = navigation()
    assert sorted(p for p in listed if not p.startswith('repository/')) == (
        sorted(pages))
    for page in set(listed) - set(pages):
        assert (REPO / page.removeprefix('repository/')).is_file(), page


def test_a_page_has_one_title_which_is_its_name_in_the_menu():
    names = navigation()
    assert names.pop('README.md') == 'Home'
    for page, name in names.items():
        file = REPO / page.removeprefix('repository/') if (
            page.startswith('repository/')) else DOCS / page
        assert re.findall('^# (.+)', bare(file), re.M) == [name], page


def anchors(text):
    """As GitHub and the site make them of headings."""
    bare = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    return {
        re.sub(r'[^\w\- ]', '', title.lower()).strip().replace(' ', '-')
        for title in re.findall(r'^#+ (.*)$', bare, re.M)}


def test_links_lead_to_headings_that_are_there():
    count = 0
    for page in PAGES:
        for link, anchor in re.findall(
                r'\]\((?!http)([^)#\s]*)#([^)\s]+)\)', page.read_text()):
            target = page.parent / link if link else page
            assert anchor in anchors(target.read_text()), (page.name, anchor)
            count += 1
    assert count > 10


def test_what_belongs_to_a_list_is_indented_as_the_site_needs_it():
    """By four places, where the repository takes fewer."""
    for page in PAGES:
        text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S)
        assert not re.findall(r'\n\n {1,3}\S.*', text), page.name


def name(page):
    return page.relative_to(REPO).as_posix()


def bare(page):
    """A page without its fenced blocks."""
    return re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S)


def broken_lists(text):
    """Items that the site shows as text, or as the 1 of another list.

    There an item needs an empty line before it, unless the line before is of
    an item without paragraphs; and what is not indented ends a list.
    """
    number, before, place = 0, '', 'text'
    for line in text.splitlines():
        item = re.match(r'(?:(\d+)\.|[-*]) ', line)
        if item:
            number = number + 1 if place != 'text' else 1
            if (before and place != 'item') or item[1] not in (
                    None, str(number)):
                yield line
            place = 'item'
        elif line and not before:
            indented = line.startswith('    ') and place != 'text'
            place = 'paragraph' if indented else 'text'
        before = line


def test_what_breaks_a_list_is_found():
    assert not list(broken_lists(
        'text\n\n1. a\n   more\n2. b\n\n    of b\n\n3. c\n\nend\n\n1. d\n'))
    assert list(broken_lists('text\n- a\n')) == ['- a']
    assert list(broken_lists('1. a\n\ntext\n\n2. b\n')) == ['2. b']
    assert list(broken_lists('1. a\n\n    of a\n2. b\n')) == ['2. b']


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_lists_do_not_fall_apart_on_the_site(page):
    assert not list(broken_lists(bare(page)))


@pytest.mark.parametrize('page', [
    p for p in PAGES if p.parent in (REPO, DOCS)], ids=name)
def test_the_first_commands_of_a_page_are_not_cut(page):
    """79 letters fit between menu and contents in 1280 pixels."""
    for block in re.findall(r'^```bash\n(.*?)^```', page.read_text(),
                            re.M | re.S)[:1]:
        assert max(map(len, block.splitlines())) <= 79


def widest(text):
    """How many letters wide each table of a page is at the least.

    By the longest word of each column; a cell has room at its sides.
    """
    for table in re.findall(r'(?:^\|.*\n?)+', text, re.M):
        rows = [re.split(r'(?<!\\)\|', line.strip())[1:-1]
                for line in table.splitlines()]
        shown = [[re.sub(r'\]\([^)]*\)', '', cell) for cell in row]
                 for row in rows if not set(''.join(row)) <= set('-: ')]
        columns = zip(*shown)
        yield sum(2 + max(len(word) for cell in column
                          for word in cell.split() or [''])
                  for column in columns)


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_tables_are_no_wider_than_the_page(page):
    """At 1280 pixels; what is wider scrolls, and its figures are not seen."""
    assert max(widest(bare(page)), default=0) <= 95


def test_the_site_has_one_first_page():
    """A link to the repository's README would make it a second one."""
    for page in PAGES[1:]:
        links = re.findall(r'\]\((?!http)([^)#\s]+)', page.read_text())
        assert REPO / 'README.md' not in [
            (page.parent / link).resolve() for link in links], page


def sayings():
    """What the package can say: what is fixed in its longer strings."""
    for file in (REPO / 'crosskd').rglob('*.py'):
        tree, parts = ast.parse(file.read_text()), set()
        for node in ast.walk(tree):  # a string comes before its parts
            if isinstance(node, ast.JoinedStr):
                parts.update(node.values)
                fixed = [part.value for part in node.values
                         if isinstance(part, ast.Constant)]
            elif isinstance(node, ast.Constant) and node not in parts:
                fixed = [str(node.value)]
            else:
                continue
            if sum(map(len, fixed)) > 20:
                yield fixed


def has_in_order(message, fixed):
    for text in fixed:
        _, found, message = message.partition(text)
        if not found:
            return False
    return True


def test_messages_that_are_quoted_are_ones_that_are_said():
    quoted = re.findall(
        r'^> (.+)$', (DOCS / 'troubleshooting.md').read_text(), re.M)
    said = list(sayings())
    assert len(quoted) > 20
    for message in quoted:
        assert any(has_in_order(message, x) for x in said), message
        assert '<' not in message  # the site would take it for a tag


def example(thing):
    """The example in a docstring, as a Config."""
    text = inspect.getdoc(thing).partition('Example config')[2]
    block = re.search(r'::\n\n((?:    .*\n|\n)+)', f'{text}\n')
    inline = re.search(r'``(.*?)``', text, re.S)
    if inline and (not block or inline.start() < block.start()):
        code = ' '.join(inline[1].split())
        code = code if re.match(r'\w+=', code) else f'cfg={code}'
    else:
        code = textwrap.dedent(block[1])
    return Config.fromstring(code, '.py')


@pytest.mark.parametrize('path', REGISTERED)
def test_each_registered_class_has_an_example_that_builds(path):
    name, thing = REGISTERED[path]
    values = example(thing)
    if name == 'DistilledDetector':
        model = build(values.model, joins=False)
        assert type(model) is distilled_class(FasterRCNN)
    elif name in SCHEDULES.module_dict:
        cfg, = values.schedule.values()
        assert type(SCHEDULES.build(cfg)) is thing
    elif inspect.isfunction(thing):
        cfg = distiller_cfg('gfl')
        cfg.update(type='SDDSingleStageDetector', kd_cfg=dict(
            loss_sdd=dict(type='SDDLoss'), **values))
        assert list(build(cfg, joins=False).distillers.regions.losses) == [
            name]
    elif issubclass(thing, HeadAdapter):
        assert MODELS.get(values.bbox_head.type) is thing.head_type
    elif issubclass(thing, DistillationMixin):
        find_config(values.model.teacher_config)
        assert type(build(values.model, joins=False)) is thing
    else:
        (cfg, ) = values.values()
        cfg = cfg[0] if isinstance(cfg, list) else cfg.get('adapter', cfg)
        if name == 'ChannelAdapter':
            cfg.update(in_channels=2, out_channels=3)
        if name == 'TimmTeacher':
            need_timm()
        registry = next(r for r in (MODELS, HOOKS, DISTILLERS)
                        if r.module_dict.get(name) is thing)
        assert type(registry.build(cfg)) is thing


@pytest.mark.parametrize('name', [
    name for name, thing in REGISTERED.values() if inspect.isclass(thing)
    and issubclass(thing, CrossKDSingleStageDetector) and thing.family])
def test_examples_of_named_detectors_have_their_recipes(name):
    """Some leave out a weight of 1, which is what losses have by default."""
    kind = MODELS.get(name)
    weighted = {
        key: dict(loss_weight=1.0, **value) if isinstance(value, dict)
        and 'loss_weight' not in value else value
        for key, value in example(kind).model.kd_cfg.items()}
    assert weighted == recipe_of(kind.family.name)


def test_the_page_of_classes_shows_all_that_are_registered():
    pages = (page.read_text() for page in (DOCS / 'classes').glob('*.md'))
    shown = re.findall(r'^::: crosskd\.[\w.]*\b(\w+)$', ''.join(pages),
                       re.M)
    assert {p.rsplit('.', 1)[-1] for p in REGISTERED} <= set(shown)


class Loaded(HTMLParser):
    """What a browser fetches for a page, and where its links lead.

    Attributes:
        paragraphs: the text of each.
    """

    def __init__(self, page):
        super().__init__()
        self.fetched, self.links, self.paragraphs = [], [], []
        self.feed(page.read_text())

    def handle_data(self, data):
        if self.paragraphs:
            self.paragraphs[-1] += data

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == 'p':
            self.paragraphs.append('')
        if tag in ('script', 'img', 'iframe'):
            self.fetched.append(values.get('src') or '')
        elif tag == 'link' and values.get('rel') in ('stylesheet', 'preload'):
            self.fetched.append(values['href'])
        elif tag == 'a':
            self.links.append(values.get('href') or '')


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec('mkdocs') is None,
    reason="mkdocs is not installed (pip install -e '.[docs]')")
def test_the_site_builds_strictly_and_needs_no_other_host(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', tmp_path],
        cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-3000:]
    pages = [p for p in tmp_path.rglob('*.html') if p.name != '404.html']
    assert len(pages) > len(navigation())
    for page in pages:
        loaded = Loaded(page)
        assert not [x for x in loaded.fetched if '//' in x], page
        for text in loaded.paragraphs:  # an item of a list that is none
            assert not re.search(r'^(\d+\.|[-*]) ', text, re.M), (page, text)
        for link in loaded.links:
            path = unquote(link.partition('#')[0])
            if path and '//' not in path and not path.startswith('mailto'):
                assert (page.parent / path).exists(), (page, link)
    assert not (tmp_path / 'repository/README').exists()
    # what pages show, and nothing that was measured for them
    beside = {p.suffix for p in tmp_path.rglob('*') if p.is_file()
              and p.relative_to(tmp_path).parts[0] not in ('assets', 'search')}
    assert beside <= {'.html', '.jpg', '.png', '.svg', '.css', '.ipynb',
                      '.xml', '.gz', '.inv'}
    # what is outside of docs/, and a class with the example of its config
    assert 'Contributing' in (
        tmp_path / 'repository/CONTRIBUTING/index.html').read_text()
    assert 'SkipNonFiniteHook' in (
        tmp_path / 'classes/detectors/index.html').read_text()
    assert 'How it works' in (
        tmp_path / 'search/search_index.json').read_text()
