"""The config of a student without distillation."""
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import mmdet.models
from mmdet import registry as mmdet_registry
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner

from ...configs import model_of, plain_model
from ...errors import ConfigValueError
from ...registry import DISTILLERS, REGIONS, SCOPE

MMDET = 'mmdet'
# where the training ran; the user of the student does not need it
OF_THE_RUN = ('work_dir', 'launcher')


def plain_config(cfg: Config) -> Config:
    """The config of the student without its teacher.

    Its detector is the class that distillation was added to, such as mmdet's
    ``SingleStageDetector``.  Hooks, imports and scopes of this package, and
    variables with parts of them, are left out.  Everything else stays, also
    classes of other packages.  If such a package imports crosskd, as for its
    own distilled detector, its import stays only if the rest of the config
    needs it.

    Args:
        cfg: config of a distilled detector, or of a plain one.

    Raises:
        ValueError: it has no model, or names a class of this package for which
            mmdet has no replacement.
    """
    model_of(cfg)
    values = cfg.to_dict()
    scope = values.get('default_scope') or MMDET
    scope = MMDET if scope == SCOPE else scope
    values = _without_our_scope(values, scope)
    values.update(default_scope=scope, load_from=None, resume=False)
    teacher = values['model'].get('teacher_config')
    values['model'] = _plain_model(values['model'], scope)
    if values.get('custom_hooks'):
        values['custom_hooks'] = [
            hook for hook in values['custom_hooks'] if not _is_ours(
                hook.get('type') if isinstance(hook, dict) else hook)]
    if _is_ours(values.get('runner_type')):
        del values['runner_type']
    known = inspect.signature(Runner.__init__).parameters
    for key in list(values):
        places = [f'{place}.type={kind!r}' for place, kind in _types_in(
            values[key], key) if _is_ours(kind)]
        if key in OF_THE_RUN:
            del values[key]
        elif key not in known and (places or (
                teacher and values[key] == teacher)):
            del values[key]  # a variable that only distillation used
        elif places:
            raise ConfigValueError(
                f'CONFIG: {places[0]} is a class of {SCOPE}, but plain mmdet '
                'has no class of that name; export a config without it')
    _leave_out_imports(values)
    return Config(values)


def needs_this_package(plain: Config) -> list[str]:
    """Imports of a config that import this package themselves."""
    names = plain.get('custom_imports', {}).get('imports', [])
    return [name for name in names if _imports_ours(name)]


def _plain_model(model: dict, scope: str) -> dict:
    """A detector's config without distillation."""
    plain = plain_model(model)
    if plain['type'] is not model['type']:
        plain['type'] = _registered_name(plain['type'],
                                         model.get('_scope_', scope))
    return plain


def _registered_name(kind: type, scope: str) -> str:
    """The name under which a scope finds a class."""
    root = MODELS.root
    for registry in (MODELS, *root.children.values(), root):
        for name, registered in registry.module_dict.items():
            if registered is kind:
                return (name if registry.scope in (scope, root.scope)
                        else f'{registry.scope}.{name}')
    raise ConfigValueError(
        f'CONFIG: the detector without distillation is {kind.__module__}.'
        f'{kind.__qualname__}, which is not registered; register it')


def _leave_out_imports(values: dict) -> None:
    imports = values.pop('custom_imports', None)
    if not imports:
        return
    needed = {kind.__module__ for _, name in _types_in(values, '')
              for kind in _registered(name)}
    names = imports['imports']
    kept = [name for name in ([names] if isinstance(names, str) else names)
            if not _is_within(name, SCOPE) and (
                not _imports_ours(name)
                or any(_is_within(module, name) for module in needed))]
    if kept:
        values['custom_imports'] = dict(imports, imports=kept)


def _imports_ours(name: str) -> bool:
    """Whether a module, or one inside it, imports parts of this package."""
    return any(
        _is_within(getattr(value, '__module__', None)
                   or getattr(value, '__name__', ''), SCOPE)
        for module in list(sys.modules) if _is_within(module, name)
        for value in list(vars(sys.modules[module]).values()))


def _is_within(module: Any, package: str) -> bool:
    return f'{module}.'.startswith(f'{package}.')


def _without_our_scope(part: Any, default: str) -> Any:
    """A part of a config without the scopes that inheritance has added."""
    if isinstance(part, dict):
        kept = {key: _without_our_scope(value, default)
                for key, value in part.items()}
        if kept.get('_scope_') == SCOPE:
            kept['_scope_'] = MMDET  # the rest of it comes from mmdet
        if kept.get('_scope_') == default:
            del kept['_scope_']
        return kept
    if isinstance(part, (list, tuple)):
        return type(part)(_without_our_scope(x, default) for x in part)
    return part


def _types_in(part: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The types in a part of a config, and their places."""
    if isinstance(part, dict):
        if 'type' in part:
            yield place, part['type']
        for key, value in part.items():
            yield from _types_in(value, f'{place}.{key}')
    elif isinstance(part, (list, tuple)):
        for index, value in enumerate(part):
            yield from _types_in(value, f'{place}[{index}]')


def _registered(kind: Any) -> Iterator[type]:
    """The classes of a name in all registries; or the given class itself."""
    if not isinstance(kind, str):
        yield kind
        return
    name = kind.rpartition('.')[2]
    roots = {id(r.root): r.root for r in vars(mmdet_registry).values()
             if isinstance(r, Registry)}
    for root in (*roots.values(), DISTILLERS, REGIONS):
        for registry in (root, *root.children.values()):
            if name in registry.module_dict:
                yield registry.module_dict[name]


def _is_ours(kind: Any) -> bool:
    """Whether a type, or its name, is one that only this package has."""
    # a loss of ours that replaces mmdet's is also mmdet's
    return not (isinstance(kind, str) and hasattr(mmdet.models, kind)) and any(
        _is_within(getattr(found, '__module__', ''), SCOPE)
        for found in _registered(kind))
