"""The tests themselves: what is shared lies in ``lib/``."""
import ast
from pathlib import Path

import pytest
from families import FAMILY

pytestmark = pytest.mark.torch_only

ROOT = Path(__file__).parents[1]
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob('*.py'))
TESTS = {path.stem for path in FILES if path.name.startswith('test_')}


def imported(text: str) -> set[str]:
    """First parts of the names of all modules that are imported."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or '')
    return {name.split('.')[0] for name in names}


def test_imports_are_found_wherever_they_stand():
    assert imported('import a.b\ndef f():\n    from c.d import e') == {
        'a', 'c'}


def test_nothing_is_imported_from_a_test():
    assert len(TESTS) > 70
    found = {str(path): imported((ROOT / path).read_text()) & TESTS
             for path in FILES}
    assert not {path: names for path, names in found.items() if names}


def test_tests_lie_in_rooms_and_have_names_of_their_own():
    """pytest tells test files of one name in two folders not apart."""
    assert len(TESTS) == len(
        [path for path in FILES if path.name.startswith('test_')])
    assert all(len(path.parts) == 2 for path in FILES
               if path.name != 'conftest.py')


def compared_with_families(text: str) -> set[str]:
    """Names of families that ``kind`` is compared with, such as by ``==``."""
    return {
        one.value for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Compare)
        and getattr(node.left, 'id', '') == 'kind'
        for one in ast.walk(node) if isinstance(one, ast.Constant)
        and one.value in FAMILY}


def test_comparisons_with_families_are_found():
    assert compared_with_families(
        "kind == 'gfl' or kind not in ('fcos', 'x') or it == 'atss'") == {
            'gfl', 'fcos'}


def test_what_a_family_is_like_is_said_by_its_row():
    found = {str(path): compared_with_families((ROOT / path).read_text())
             for path in FILES}
    # which of them is tried elsewhere
    found.pop('apps/test_export.py')
    assert not {path: names for path, names in found.items() if names}


def test_slow_is_a_marker_and_no_word_of_a_name():
    """What computes one number at a time is an oracle, or by hand."""
    names = [node.name for path in FILES
             for node in ast.walk(ast.parse((ROOT / path).read_text()))
             if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert len(names) > 1000
    assert [name for name in names if 'slow' in name.lower().split('_')] == [
        'test_slow_is_a_marker_and_no_word_of_a_name']
