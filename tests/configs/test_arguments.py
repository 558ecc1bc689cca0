"""Words for messages about arguments."""
import pytest

from crosskd.arguments import few

pytestmark = pytest.mark.torch_only


@pytest.mark.parametrize('names, options, said', [
    ((), (), ''), ('ab', (), "'a', 'b'"), (range(6), (), '0, 1, 2, 3, 4, 5'),
    (range(7), (), '0, 1, 2, 3, 4, 5, … (7 in all)'),
    (iter(['a b', 'c', 'd']), (2, str), 'a b, c, … (3 in all)')])
def test_the_first_few_of_many(names, options, said):
    assert few(names, *options) == said
