"""Pairs of all families: the tables of tests/pairs/pairs.md, step by step."""
import pytest
from families import quick_cases
from pairs_table import DIFFERENCES, METHODS, PAGE, cells, page, read

pytestmark = pytest.mark.torch_only

QUICK = ('CrossKD', 'equal')
CASES = quick_cases([QUICK], [
    (method, difference) for method in METHODS for difference in DIFFERENCES])


@pytest.mark.parametrize('method, difference', CASES)
def test_the_table_is_what_happens(method, difference):
    found = cells(method, difference)
    written = read(PAGE.read_text())[method, difference]
    assert found == {pair: written[pair] for pair in found}


def test_the_page_is_as_it_is_made():
    written = PAGE.read_text()
    assert page(read(written)) == written
