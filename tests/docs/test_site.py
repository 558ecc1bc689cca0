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
    """The pages that mkdocs.yml lists."""
    # by itself, because the rest has tags of mkdocs
    _, key, nav = (REPO / 'mkdocs.yml').read_text().rpartition('\nnav:')
    found, left = [], [yaml.safe_load(key + nav)['nav']]
    while left:
        part = left.pop()
        if isinstance(part, str):
            found.append(part)
        else:
            left.extend(part.values() if isinstance(part, dict) else part)
    return found


def test_every_page_is_in_the_navigation():
    pages = [p.relative_to(DOCS).as_posix() for p in DOCS.rglob('*.md')]
    listed = navigation()
    assert sorted(p for p in listed if not p.startswith('repository/')) == (
        sorted(pages))
    for page in set(listed) - set(pages):
        assert (REPO / page.removeprefix('repository/')).is_file(), page


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
        assert SCHEDULES.build(cfg) == thing(iters=500)
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
    """What a browser fetches for a page, and where its links lead."""

    def __init__(self, page):
        super().__init__()
        self.fetched, self.links = [], []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
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
        for link in loaded.links:
            path = unquote(link.partition('#')[0])
            if path and '//' not in path and not path.startswith('mailto'):
                assert (page.parent / path).exists(), (page, link)
    # what pages show, and nothing that was measured for them
    beside = {p.suffix for p in tmp_path.rglob('*') if p.is_file()
              and p.relative_to(tmp_path).parts[0] not in ('assets', 'search')}
    assert beside <= {'.html', '.jpg', '.png', '.svg', '.css', '.ipynb',
                      '.xml', '.gz', '.inv'}
    # what is outside of docs/, and a class with the example of its config
    assert 'GFL-R18' in (
        tmp_path / 'repository/configs/crosskd/index.html').read_text()
    assert 'SkipNonFiniteHook' in (
        tmp_path / 'classes/detectors/index.html').read_text()
    assert 'How CrossKD works' in (
        tmp_path / 'search/search_index.json').read_text()
