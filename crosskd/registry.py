"""The registries of this package, and its scope, known in any project.

``HEAD_ADAPTERS``, ``DISTILLERS``, ``REGIONS`` and ``SCHEDULES`` are what other
packages add to: families of heads, things that are distilled, parts of logit
maps for SDD, and how weights change.  Losses and channel adapters are in
mmdet's ``MODELS``.

The classes of this package are registered in mmdet's registries.  The other
registries here, under mmdet's names, are empty children of these:
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
    """The config of one of our or mmdet's classes, for a project's scope."""
    with registry.switch_scope_and_registry(None) as current:
        known = not isinstance(cfg['type'], str) or current.get(cfg['type'])
    return dict(cfg) if known else {'_scope_': SCOPE, **cfg}


def resolve(registry: Registry, kind: Any, scope: str | None) -> Any:
    """What a type names, looked up as mmengine does when it builds it.

    Args:
        registry: that builds it.
        kind: a name, or a class, which names itself.
        scope: ``_scope_`` of the config that has the type.

    Returns:
        Any: the class or function; None if no registry has it.
    """
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(scope) as scoped:
        return scoped.get(kind)


globals().update(children_of_mmdets(SCOPE))
