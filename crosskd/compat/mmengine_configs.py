"""mmengine finds the configs of this package.

What: ``mmengine.config.utils.MODULE2PACKAGE`` gets this package.
Why: configs of other projects say ``_base_ = 'crosskd::crosskd/….py'``, and
mmengine refuses packages that are not in its list.
Until: mmengine lists this package, or takes any that is installed; neither
0.10.7 nor OneDL's 0.10.12 does.
"""
from mmengine.config import utils


def let_configs_inherit_from(package: str) -> None:
    """Let ``'package::….py'`` name a config of an installed package."""
    utils.MODULE2PACKAGE.setdefault(package, package)
