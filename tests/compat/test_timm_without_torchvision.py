"""timm is imported whether torchvision can be imported or not."""
import importlib
import sys
from types import ModuleType

import pytest

from crosskd.compat import timm_without_torchvision as compat

PIPELINES = '''
import torchvision.transforms as transforms
from torchvision.transforms.functional import InterpolationMode
from torchvision.ops.misc import FrozenBatchNorm2d

NAMES = {InterpolationMode.BICUBIC: 'bicubic', InterpolationMode.BOX: 'box'}


class Resize(transforms.Resize):
    pass


def frozen(layer):
    return isinstance(layer, FrozenBatchNorm2d)
'''


@pytest.fixture
def timm(tmp_path, monkeypatch):
    """A package of that name, which imports torchvision as timm does."""
    (tmp_path / 'timm.py').write_text(PIPELINES)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [n for n in sys.modules
                 if n.partition('.')[0] in ('timm', 'torchvision')]:
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    sys.modules.pop('timm', None)


@pytest.mark.parametrize('text', [None, 'import torchvision.none',
                                  'raise RuntimeError("no operator nms")'])
def test_without_a_torchvision_that_works(timm, text, monkeypatch):
    if text is None:
        monkeypatch.setitem(sys.modules, 'torchvision', None)
    else:
        (timm / 'torchvision.py').write_text(text)
    found = compat.import_timm()
    assert found is compat.import_timm()
    assert found.NAMES == {'BICUBIC': 'bicubic', 'BOX': 'box'}
    assert not found.frozen(5)
    with pytest.raises(ImportError, match='Resize needs torchvision'):
        found.Resize(5)
    # others do not take the placeholders for torchvision
    assert sys.modules.get('torchvision') is None
    with pytest.raises((ImportError, RuntimeError)):
        importlib.import_module('torchvision')


def test_the_real_one_is_used_and_stays(timm, monkeypatch):
    parts = {}
    for name in ('', '.transforms', '.transforms.functional', '.ops',
                 '.ops.misc'):
        parts[name] = ModuleType(f'torchvision{name}')
        monkeypatch.setitem(sys.modules, f'torchvision{name}', parts[name])
    parts[''].transforms = parts['.transforms']
    parts['.transforms'].Resize = ModuleType
    parts['.transforms.functional'].InterpolationMode = type(
        'Mode', (), dict(BICUBIC=1, BOX=2))
    parts['.ops.misc'].FrozenBatchNorm2d = int
    found = compat.import_timm()
    assert found.frozen(5) and issubclass(found.Resize, ModuleType)
    assert sys.modules['torchvision'] is parts['']


def test_an_error_of_its_own_is_raised(timm):
    (timm / 'timm.py').write_text('raise ImportError("no timm")')
    with pytest.raises(ImportError, match='no timm'):
        compat.import_timm()
