"""mmdet's and mmengine's registries know this package, in any scope.

What: mmdet's registries get children with this package's scope.  Classes that
this package registers there are also registered in mmengine's registries, the
roots.  One class replaces mmdet's class of the same name.
Why: mmengine stores the scope of every dict that a config inherits through
``_base_ = 'crosskd::…'``, and looks for a registry of that scope to build it.
A project with its own scope finds classes only in its own registries and in
the roots.  mmdet's ``KnowledgeDistillationKLDivLoss`` has no
``class_reduction``, and refuses a temperature below 1.
Until: no end in sight for scopes, which mmengine made so; the loss, until
mmdet's takes these arguments (3.3.0 and OneDL's 3.5.1 do not).
"""
from collections.abc import Callable
from typing import TypeVar

from mmdet import registry as _mmdet
from mmengine.registry import Registry

Kind = TypeVar('Kind', bound=type)


def children_of_mmdets(scope: str) -> dict[str, Registry]:
    """Empty children of mmdet's registries, by their names in mmdet.

    They find the classes of this package, of mmdet and of mmengine, whatever
    the default scope of the running project.

    Args:
        scope: of the children.
    """
    return {name: _child_of(parent, scope)
            for name, parent in vars(_mmdet).items() if _is_mmdets(parent)}


def _child_of(parent: Registry, scope: str) -> Registry:
    child = Registry(
        parent.name, parent=parent, scope=scope, locations=parent._locations)
    # names such as 'crosskd.CrossKDGFL' are only looked up below the root
    parent.root._add_child(child)
    return child


def register_in_roots(package: str) -> None:
    """Let all scopes find a package's classes by their plain names.

    Args:
        package: the package, which has registered them in mmdet's registries.
    """
    for registry in vars(_mmdet).values():
        if _is_mmdets(registry):
            for name, kind in registry.module_dict.items():
                if kind.__module__.startswith(f'{package}.'):
                    registry.root.register_module(name, force=True,
                                                  module=kind)


def in_place_of_mmdets(registry: Registry) -> Callable[[Kind], Kind]:
    """Decorate a class that replaces mmdet's class of the same name."""
    return registry.register_module(force=True)


def _is_mmdets(registry: object) -> bool:
    return isinstance(registry, Registry) and registry.scope == 'mmdet'
