"""The registries of this package, and its scope, known in any project.

Other packages can add to ``HEAD_ADAPTERS`` (families of heads), ``DISTILLERS``
(things that are distilled), ``REGIONS`` (parts of logit maps for SDD) and
``SCHEDULES`` (changes of weights).  Losses and channel adapters are in mmdet's
``MODELS``.

The classes of this package are registered in mmdet's registries.  The other
registries here, under mmdet's names, are empty children of those;
:mod:`crosskd.compat.mmdet_registries` says why.
"""
from typing import Any

from mmengine.registry import Registry

from .compat.mmdet_registries import children_of_mmdets

SCOPE = 'crosskd'

HEAD_ADAPTERS = Registry('head adapter', scope=SCOPE)
DISTILLERS = Registry('distiller', scope=SCOPE)
REGIONS = Registry('region', scope=SCOPE)
SCHEDULES = Registry('schedule', scope=SCOPE)


def in_our_scope(registry: Registry, cfg: dict) -> dict:
    """The config of one of our or mmdet's classes, safe in other scopes."""
    with registry.switch_scope_and_registry(None) as current:
        known = not isinstance(cfg['type'], str) or current.get(cfg['type'])
    return dict(cfg) if known else {'_scope_': SCOPE, **cfg}


def resolve(registry: Registry, kind: Any, scope: str | None) -> Any:
    """Find the class or function of a ``type``, as mmengine does.

    Args:
        registry: the registry that would build it.
        kind: a name, or the class itself.
        scope: ``_scope_`` of the config that has the type.

    Returns:
        Any: the class or function; None if no registry has it.
    """
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(scope) as scoped:
        return scoped.get(kind)


globals().update(children_of_mmdets(SCOPE))
