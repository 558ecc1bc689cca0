"""The config of a student without what distilled it."""
import inspect
from collections.abc import Iterator
from typing import Any

import mmdet.models
from mmdet import registry as mmdet_registry
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry
from mmengine.runner import Runner

from ..detectors import DistillationMixin
from ..registry import DISTILLERS, REGIONS, SCOPE

MMDET = 'mmdet'
# where the training was, which is nothing to the one who gets the student
OF_THE_RUN = ('work_dir', 'launcher')


def plain_config(cfg: Config) -> Config:
    """The config of the student without its teacher.

    Its detector is the class that distillation was added to, such as mmdet's
    ``SingleStageDetector``.  Hooks, imports and scopes of this package are
    left out, and variables that held parts of it; all else stays, with what
    other packages have registered.

    Args:
        cfg: of a distilled detector, or a plain one.

    Raises:
        ValueError: it has no model, or names a class of this package where
            there is none of mmdet's in its place.
    """
    if not isinstance(cfg.get('model'), dict) or 'type' not in cfg.model:
        raise ValueError('CONFIG: expected the config of a detector, with a '
                         f"'model'; found the keys {sorted(cfg)}")
    values = cfg.to_dict()
    scope = values.get('default_scope') or MMDET
    scope = MMDET if scope == SCOPE else scope
    values = _without_our_scope(values, scope)
    values.update(default_scope=scope, load_from=None, resume=False)
    teacher = values['model'].get('teacher_config')
    values['model'] = _plain_model(values['model'], scope)
    _leave_out_imports(values)
    if values.get('custom_hooks'):
        values['custom_hooks'] = [
            hook for hook in values['custom_hooks'] if not _is_ours(
                hook.get('type') if isinstance(hook, dict) else hook)]
    known = inspect.signature(Runner.__init__).parameters
    for key in list(values):
        places = list(_ours_in(values[key], key))
        if key in OF_THE_RUN:
            del values[key]
        elif key not in known and (places or (
                teacher and values[key] == teacher)):
            del values[key]  # a variable that only distillation read
        elif places:
            raise ValueError(
                f'CONFIG: {places[0]} is a class of {SCOPE}, and plain mmdet '
                'has none of that name; export a config without it')
    return Config(values)


def class_of(model: dict) -> type:
    """The detector class that a config names.

    Raises:
        ValueError: no class of that name is registered.
    """
    kind = model['type']
    if not isinstance(kind, str):
        return kind
    with MODELS.switch_scope_and_registry(model.get('_scope_')) as current:
        found = current.get(kind) or MODELS.get(kind)
    if found is None:
        raise ValueError(
            f'CONFIG: model.type={kind!r} is not registered; if it is one of '
            'your project, name its module in custom_imports')
    return found


def _plain_model(model: dict, scope: str) -> dict:
    """A detector's config without distillation."""
    kind = class_of(model)
    if not issubclass(kind, DistillationMixin):
        return model
    base = next(c for c in kind.__mro__
                if not issubclass(c, DistillationMixin))
    for distils in kind.__mro__:
        if issubclass(distils, DistillationMixin):
            for key in inspect.signature(distils.__init__).parameters:
                model.pop(key, None)
    model['type'] = _registered_name(base, model.get('_scope_', scope))
    return model


def _registered_name(kind: type, scope: str) -> str:
    """The name that a class is found by in a scope."""
    root = MODELS.root
    for registry in (MODELS, *root.children.values(), root):
        for name, registered in registry.module_dict.items():
            if registered is kind:
                return (name if registry.scope in (scope, root.scope)
                        else f'{registry.scope}.{name}')
    raise ValueError(
        f'CONFIG: the detector without distillation is {kind.__module__}.'
        f'{kind.__qualname__}, which is in no registry; register it')


def _leave_out_imports(values: dict) -> None:
    imports = values.get('custom_imports')
    if not imports:
        return
    names = imports['imports']
    kept = [name for name in ([names] if isinstance(names, str) else names)
            if name.partition('.')[0] != SCOPE]
    if kept:
        values['custom_imports'] = dict(imports, imports=kept)
    else:
        del values['custom_imports']


def _without_our_scope(part: Any, default: str) -> Any:
    """A part of a config without the scopes that inheriting has left."""
    if isinstance(part, dict):
        kept = {key: _without_our_scope(value, default)
                for key, value in part.items()}
        if kept.get('_scope_') == SCOPE:
            kept['_scope_'] = MMDET  # what is not ours in it is mmdet's
        if kept.get('_scope_') == default:
            del kept['_scope_']
        return kept
    if isinstance(part, (list, tuple)):
        return type(part)(_without_our_scope(x, default) for x in part)
    return part


def _ours_in(part: Any, path: str) -> Iterator[str]:
    """Where a part of a config names a class of this package."""
    if isinstance(part, dict):
        if _is_ours(part.get('type')):
            yield f'{path}.type={part["type"]!r}'
        for key, value in part.items():
            yield from _ours_in(value, f'{path}.{key}')
    elif isinstance(part, (list, tuple)):
        for index, value in enumerate(part):
            yield from _ours_in(value, f'{path}[{index}]')


def _is_ours(kind: Any) -> bool:
    """Whether a type, or its name, is one that only this package has."""
    if isinstance(kind, str):
        name = kind.rpartition('.')[2]
        if hasattr(mmdet.models, name):  # a loss that we register once more
            return False
        return any(
            name in registry.module_dict and _is_ours(
                registry.module_dict[name])
            for registry in (*vars(mmdet_registry).values(), DISTILLERS,
                             REGIONS) if isinstance(registry, Registry))
    return getattr(kind, '__module__', '').partition('.')[0] == SCOPE
