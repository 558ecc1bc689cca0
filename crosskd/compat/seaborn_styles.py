"""seaborn's styles without seaborn, for mmdet's curves of logs.

What: matplotlib's seaborn styles also get their short names, and if seaborn is
missing, a module ``seaborn`` with ``set_style`` is made.
Why: matplotlib has the styles under longer names.  ``analyze_logs.py`` of
OneDL's mmdet uses the short names, which fails; OpenMMLab's imports seaborn,
which mmdet does not require.
Until: mmdet's tool uses names that matplotlib has; neither 3.3.0 nor OneDL's
3.5.1 does.
"""
import sys
from importlib.util import find_spec
from types import ModuleType

from matplotlib import style


def provide_seaborn_styles() -> None:
    """Let ``analyze_logs.py`` find the styles that it uses."""
    for name in list(style.library):
        if name.startswith('seaborn-'):
            short = name.rpartition('-')[2]
            style.library.setdefault(short, style.library[name])
    if find_spec('seaborn') is None:
        seaborn = ModuleType('seaborn')
        vars(seaborn)['set_style'] = style.use
        sys.modules['seaborn'] = seaborn
