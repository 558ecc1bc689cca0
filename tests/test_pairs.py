"""Pairs that differ: the table of docs/pairs.md, taken step by step."""
import pytest

from pairs_table import DIFFERENCES, METHODS, PAGE, table

CASES = [
    pytest.param(method, difference, marks=(
        [] if method == 'CrossKD' else pytest.mark.slow))
    for method in METHODS for difference in DIFFERENCES]


@pytest.mark.parametrize('method, difference', CASES)
def test_the_table_is_what_happens(method, difference):
    assert '\n'.join(table(method, difference)).rstrip() in PAGE.read_text()
