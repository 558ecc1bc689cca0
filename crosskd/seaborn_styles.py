"""seaborn's styles without seaborn, for mmdet's curves of logs."""
import sys
from importlib.util import find_spec
from types import ModuleType

from matplotlib import style

NAMES = ('dark', 'darkgrid', 'ticks', 'white', 'whitegrid')


def provide_seaborn_styles() -> None:
    """Let ``analyze_logs.py`` find the styles that it asks for.

    matplotlib has them under longer names.  OneDL's tool asks matplotlib for
    the short ones, which fails; OpenMMLab's asks seaborn, which mmdet does not
    require.
    """
    for name in NAMES:
        style.library.setdefault(name, style.library[f'seaborn-v0_8-{name}'])
    if find_spec('seaborn') is None:
        seaborn = ModuleType('seaborn')
        vars(seaborn)['set_style'] = style.use
        sys.modules['seaborn'] = seaborn
