"""seaborn's styles without seaborn, for mmdet's curves of logs."""
import sys
from importlib.util import find_spec
from types import ModuleType

from matplotlib import style


def provide_seaborn_styles() -> None:
    """Let ``analyze_logs.py`` find the styles that it asks for.

    matplotlib has them under longer names.  OneDL's tool asks matplotlib for
    the short ones, which fails; OpenMMLab's asks seaborn, which mmdet does not
    require.
    """
    for name in list(style.library):
        if name.startswith('seaborn-'):
            short = name.rpartition('-')[2]
            style.library.setdefault(short, style.library[name])
    if find_spec('seaborn') is None:
        seaborn = ModuleType('seaborn')
        vars(seaborn)['set_style'] = style.use
        sys.modules['seaborn'] = seaborn
