"""All changes of other packages lie in one room, and say why."""
import ast

import pytest

from conftest import REPO

pytestmark = pytest.mark.torch_only

ROOM = REPO / 'crosskd/compat'
FILES = sorted(f for f in ROOM.glob('*.py') if f.name != '__init__.py')
# what runs in a process of its own, whose settings it makes
COMMANDS = ('commands', 'benchmark', 'demo')


def of_others(tree):
    """Names that a file imports from outside of this package."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) or (
                isinstance(node, ast.ImportFrom) and not node.level):
            found |= {alias.asname or alias.name.partition('.')[0]
                      for alias in node.names}
    return found


def changes(text):
    """Lines that set a part of something of another package."""
    tree = ast.parse(text)
    names = of_others(tree)
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        forces = isinstance(node, ast.Call) and any(
            k.arg == 'force' for k in node.keywords)
        for place in targets:
            while isinstance(place, (ast.Attribute, ast.Subscript)):
                place = place.value
                if isinstance(place, ast.Call) and place.args:
                    place = place.args[0]  # vars(…)[…]
                if isinstance(place, ast.Name) and place.id in names:
                    yield node.lineno
        if forces:
            yield node.lineno


@pytest.mark.parametrize('file', FILES, ids=lambda f: f.stem)
def test_a_change_says_what_why_and_until_when(file):
    said = ast.get_docstring(ast.parse(file.read_text()))
    starts = [line.partition(':')[0] for line in said.splitlines()]
    assert [s for s in starts if s in ('What', 'Why', 'Until')] == [
        'What', 'Why', 'Until']


def test_other_rooms_change_no_other_package():
    for file in (REPO / 'crosskd').rglob('*.py'):
        inside = file.relative_to(REPO / 'crosskd').parts
        if inside[0] == 'compat' or '.mim' in inside or (
                inside[0] == 'apps' and inside[1] in COMMANDS):
            continue
        assert not list(changes(file.read_text())), file


@pytest.mark.parametrize('line', [
    'mmengine.runner.checkpoint.load = f', 'Runner.build_model = f',
    "sys.modules['seaborn'] = f", "vars(MODELS)['x'] = f",
    'MODELS.register_module(force=True)'])
def test_changes_are_seen(line):
    text = ('import sys\nimport mmengine.runner\n'
            f'from a import MODELS, Runner\nx = 1\nx.y = 2\n{line}')
    assert list(changes(text)) == [6]
