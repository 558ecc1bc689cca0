"""What is said of an error that says nothing itself."""
import re

import pytest

from crosskd.arguments import naming
from crosskd.errors import describe, words

# in a file of its own: pytest gives the asserts of tests a message
CODE = '''\
def bare(number):
    assert number > 3


def empty():
    raise RuntimeError


def as_registries_do(text):
    try:
        bare(1)
    except Exception as e:
        raise type(e)(f'{text}{e}') from None
'''
WHERE = r'assert number > 3 \(code.py, line 2\)'


@pytest.fixture(scope='module')
def code(tmp_path_factory):
    path = tmp_path_factory.mktemp('code') / 'code.py'
    path.write_text(CODE)
    names = {'int': int, 'item': {}.__getitem__}
    exec(compile(CODE, str(path), 'exec'), names)
    return names


@pytest.mark.parametrize('name, arg, kind, text', [
    ('bare', [1], 'AssertionError', WHERE),
    ('as_registries_do', ['class `X` in x.py: '], 'AssertionError',
     f'class `X` in x.py: {WHERE}'),
    ('as_registries_do', ['in full'], 'AssertionError', 'in full'),
    ('empty', [], 'RuntimeError', r'raise RuntimeError \(code.py, line 6\)'),
    ('int', ['x'], 'ValueError', 'invalid literal .*'),
    ('item', ['neck'], 'KeyError', "'neck'")])
def test_type_and_what_was_asserted(code, name, arg, kind, text):
    with pytest.raises(Exception) as found:
        code[name](*arg)
    assert re.fullmatch(f'{kind}: {text}', describe(found.value))
    short = words(found.value)
    assert re.fullmatch(text if str(found.value) else f'{kind}: {text}',
                        short)


def test_an_error_that_was_never_raised():
    assert describe(ValueError()) == words(ValueError()) == 'ValueError'


def test_in_the_config(code):
    with pytest.raises(ValueError, match='kd_cfg.loss_x: AssertionError: '
                       f'{WHERE}'), naming('kd_cfg.loss_x: '):
        code['bare'](2)
