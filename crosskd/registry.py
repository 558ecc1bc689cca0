"""The registries of this package, and its scope, known in any project.

``HEAD_ADAPTERS``, ``DISTILLERS`` and ``REGIONS`` are what other packages add
to: families of heads, things that are distilled, and parts of logit maps for
SDD.  Losses and channel adapters are in mmdet's ``MODELS``.

mmengine notes the scope of every dict that a config inherits through
``_base_ = 'crosskd::…'``, and looks for a registry of that scope to build it.
The classes of this package are registered in mmdet's registries; those here
are empty children of mmdet's, so that they find the classes of this package,
of mmdet and of mmengine, whatever the default scope of the running project.
"""
from typing import Any

from mmdet import registry as _mmdet
from mmengine.registry import Registry

SCOPE = 'crosskd'

HEAD_ADAPTERS = Registry('head adapter', scope=SCOPE)
DISTILLERS = Registry('distiller', scope=SCOPE)
REGIONS = Registry('region', scope=SCOPE)


def _child_of(parent: Registry) -> Registry:
    child = Registry(
        parent.name, parent=parent, scope=SCOPE, locations=parent._locations)
    # names such as 'crosskd.CrossKDGFL' are looked up below the root alone
    parent.root._add_child(child)
    return child


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


def register_everywhere() -> None:
    """Let all scopes find this package's classes by their plain names.

    They are registered in mmengine's registries, too, the roots: a registry
    looks there for what it does not know.
    """
    for registry in vars(_mmdet).values():
        if isinstance(registry, Registry) and registry.scope == 'mmdet':
            for name, kind in registry.module_dict.items():
                if kind.__module__.startswith(f'{SCOPE}.'):
                    registry.root.register_module(name, force=True,
                                                  module=kind)


globals().update({
    name: _child_of(parent)
    for name, parent in vars(_mmdet).items()
    if isinstance(parent, Registry) and parent.scope == 'mmdet'
})
