"""seaborn's styles without seaborn, for mmdet's curves of logs.

What: matplotlib's styles of seaborn get their short names, too, and a module
``seaborn`` with ``set_style`` is made where seaborn is missing.
Why: matplotlib has the styles under longer names.  The ``analyze_logs.py`` of
OneDL's mmdet asks matplotlib for the short ones, which fails; OpenMMLab's asks
seaborn, which mmdet does not require.
Until: mmdet's tool asks for names that matplotlib has; neither 3.3.0 nor
OneDL's 3.5.1 does.
"""
import sys
from importlib.util import find_spec
from types import ModuleType

from matplotlib import style


def provide_seaborn_styles() -> None:
    """Let ``analyze_logs.py`` find the styles that it asks for."""
    for name in list(style.library):
        if name.startswith('seaborn-'):
            short = name.rpartition('-')[2]
            style.library.setdefault(short, style.library[name])
    if find_spec('seaborn') is None:
        seaborn = ModuleType('seaborn')
        vars(seaborn)['set_style'] = style.use
        sys.modules['seaborn'] = seaborn
