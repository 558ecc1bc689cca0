"""The rooms of the package, and which may import which: docs/developing.md.

Read from the sources, without running them.
"""
import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch_only

NAME = 'crosskd'
ROOT = Path(__file__).parents[2] / NAME
# which rooms a room may import: those above it in this table alone
ARROWS: dict[str, set[str]] = {
    'version': set(),
    'started': set(),
    'dependencies': set(),
    'names': set(),
    'mmengine_errors': {'names'},
    'errors': {'mmengine_errors'},
    'arguments': {'errors', 'names'},
    'numerics': set(),
    'checkpoints': {'arguments', 'errors', 'names'},
    'compat': {'checkpoints', 'errors'},
    'registry': {'compat'},
    'variables': {'arguments', 'errors'},
    'configs': {'errors', 'names', 'registry', 'variables'},
    'losses': {'arguments', 'compat', 'errors', 'numerics', 'registry'},
    'taps': {'arguments', 'errors', 'names', 'numerics'},
    'heads': {'errors', 'numerics', 'registry', 'taps'},
    'teacher': {'arguments', 'checkpoints', 'compat', 'configs', 'errors',
                'heads', 'names', 'numerics', 'taps'},
    'pairs': {'arguments', 'checkpoints', 'errors', 'heads', 'numerics',
              'registry', 'taps'},
    'distillers': {'arguments', 'checkpoints', 'errors', 'losses', 'names',
                   'numerics', 'pairs', 'registry', 'taps'},
    'config': {'arguments', 'distillers', 'errors', 'pairs', 'registry'},
    'detectors': {'arguments', 'compat', 'config', 'errors', 'heads', 'names',
                  'numerics', 'pairs', 'taps', 'teacher'},
    'data_checks': {'arguments', 'errors', 'heads', 'names', 'registry'},
    'engine': {'arguments', 'checkpoints', 'compat', 'data_checks',
               'detectors', 'errors', 'names', 'numerics', 'registry',
               'taps'},
    'apps': set(),
    'apps.progress': set(),
    'apps.visualization': {'arguments', 'data_checks', 'detectors', 'errors',
                           'heads', 'numerics', 'pairs', 'taps'},
    'registration': {'apps.visualization', 'compat', 'dependencies',
                     'detectors', 'engine', 'losses', 'registry'},
    NAME: {'registration', 'started', 'version'},
    'apps.export': {'checkpoints', 'compat', 'configs', 'data_checks',
                    'errors', 'heads', 'registry', 'taps', 'teacher'},
    'apps.compare': {'apps.progress', 'apps.visualization', 'checkpoints',
                     'compat', 'configs', 'data_checks', 'errors', 'names',
                     'registry', 'version'},
    'apps.recipes': {'arguments', 'compat', 'configs', 'data_checks',
                     'detectors', 'errors', 'heads', 'registry', 'teacher'},
    'apps.benchmark': {'compat', 'configs', 'detectors', 'distillers',
                       'engine', 'errors', 'heads', 'pairs', 'taps', 'teacher',
                       'version'},
    'apps.distil': {'apps.compare', 'apps.progress', 'checkpoints', 'configs',
                    NAME, 'engine', 'errors'},
    'apps.demo': {'apps.compare', 'apps.distil', 'apps.progress'},
    'apps.commands': {'apps.benchmark', 'apps.compare', 'apps.demo',
                      'apps.distil', 'apps.export', 'apps.recipes', 'compat',
                      'configs', NAME, 'dependencies', 'engine', 'errors',
                      'names', 'registration', 'version'},
    'demo': {'apps.demo'},
    '__main__': {'apps.commands'},
}
LONGEST_FILE = 350
LONGEST_STEP = 40
# layers of heads whose names are words of other things, too
COMMON_WORDS = {'scales', 'integral'}


def modules(root: Path) -> dict[str, Path]:
    """Files of a package by the name that they are imported by."""
    return {'.'.join((NAME, *f.relative_to(root).with_suffix('').parts))
            .removesuffix('.__init__'): f
            for f in root.rglob('*.py') if '.mim' not in f.parts}


def statements(tree: ast.AST, inside: bool) -> Iterator[ast.stmt]:
    """Statements that run; those inside of functions if they are asked for.

    What is imported for type checkers alone does not run.
    """
    for node in ast.iter_child_nodes(tree):
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef,
                                     ast.Lambda))
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test):
            continue
        if isinstance(node, ast.stmt):
            yield node
        if inside or not function:
            yield from statements(node, inside)


def imported(name: str, file: Path, known: dict[str, Path],
             inside: bool) -> set[str]:
    """The modules of this package that one of them imports."""
    found = set()
    package = name.split('.')
    if file.name != '__init__.py':
        package.pop()
    for node in statements(ast.parse(file.read_text()), inside):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) + 1 - node.level]
            base = '.'.join([*(above if node.level else []),
                             *filter(None, [node.module])])
            for alias in node.names:
                part = f'{base}.{alias.name}'
                found.add(part if part in known else base)
    return {module for module in found if module in known and module != name}


def graph(root: Path, inside: bool) -> dict[str, set[str]]:
    """What each module of a package imports of it."""
    known = modules(root)
    return {name: imported(name, file, known, inside)
            for name, file in known.items()}


def room(module: str) -> str:
    parts = module.split('.')
    return '.'.join(parts[1:3 if parts[1:2] == ['apps'] else 2]) or module


@cache
def arrows(root: Path) -> dict[str, set[str]]:
    """The rooms that each room imports."""
    found: dict[str, set[str]] = {}
    for name, others in graph(root, inside=True).items():
        found.setdefault(room(name), set()).update(
            room(other) for other in others if room(other) != room(name))
    return found


def layer_names() -> set[str]:
    """Names of the layers that the head adapters speak of."""
    names = {'cls_convs', 'reg_convs'}
    for file in (ROOT / 'heads').glob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == 'predictors'
                    for target in node.targets):
                names |= set(ast.literal_eval(node.value))
    return names - COMMON_WORDS


def words(file: Path) -> set[str]:
    """Attributes and strings of a file."""
    tree = ast.parse(file.read_text())
    return {node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)} | {
                node.value for node in ast.walk(tree)
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)}


def test_the_table_points_down_alone():
    above: set[str] = set()
    for name, allowed in ARROWS.items():
        assert allowed <= above, name
        above.add(name)


@pytest.mark.parametrize('name', sorted(arrows(ROOT)))
def test_a_room_imports_what_the_table_allows(name):
    assert name in ARROWS
    assert arrows(ROOT)[name] <= ARROWS[name]


def check_for_circles(root: Path) -> None:
    TopologicalSorter(graph(root, inside=False)).prepare()


def test_no_module_imports_itself_in_a_circle():
    check_for_circles(ROOT)


def test_importing_the_package_imports_no_data_sets():
    """mmdet's warn and print of what they lack, in whatever imports us."""
    known, edges = modules(ROOT), graph(ROOT, inside=False)
    seen: set[str] = set()
    left = [NAME]
    while left:
        name = left.pop()
        if name in known and name not in seen:
            seen.add(name)
            left += [*edges[name], name.rpartition('.')[0]]
    assert 'crosskd.apps.visualization.hook' in seen
    for name in seen:
        for node in statements(ast.parse(known[name].read_text()), False):
            if isinstance(node, ast.ImportFrom):
                assert not str(node.module).startswith(
                    ('mmdet.datasets', 'mmdet.evaluation')), name


def test_files_are_short():
    too_long = {name: lines for name, file in modules(ROOT).items()
                if (lines := len(file.read_text().splitlines()))
                > LONGEST_FILE}
    assert not too_long


def test_the_training_step_is_one_screen():
    tree = ast.parse((ROOT / 'detectors/mixin.py').read_text())
    (step, ) = [node for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef) and node.name == 'loss']
    assert step.end_lineno - step.lineno + 1 <= LONGEST_STEP


def test_head_adapters_alone_name_the_layers_of_heads():
    names = layer_names()
    assert {'gfl_cls', 'retina_reg', 'conv_centerness'} <= names
    for name, file in modules(ROOT).items():
        if room(name) != 'heads':
            assert not words(file) & names, name


def test_circles_are_seen(tmp_path):
    """Of modules and of rooms, and only of what runs."""
    root = tmp_path / NAME
    for file, text in {
            '__init__.py': '', 'a/__init__.py': 'from .x import y',
            'a/x.py': 'from ..b import z', 'b/__init__.py': 'from . import z',
            'b/z.py': 'def f():\n    from ..a import x\n',
            'c.py': 'from typing import TYPE_CHECKING\n'
                    'if TYPE_CHECKING:\n    from .a import x\n'}.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    check_for_circles(root)
    assert arrows(root) == {NAME: set(), 'a': {'b'}, 'b': {'a'}, 'c': set()}
    (root / 'b/z.py').write_text('from crosskd.a.x import y')
    with pytest.raises(CycleError):
        check_for_circles(root)
