"""Configs of mmengine's pure Python style, made of ordinary ones."""
from importlib import import_module

import mmdet.registry
from mmengine.registry import Registry

#: whose classes mmdet's own configs of that style import
PACKAGES = ('mmdet.', 'mmengine.', 'mmcv.transforms.', 'torch.optim.')
REGISTRIES = [found for scope in ('mmdet', 'mmengine')
              for found in vars(mmdet.registry).values()
              if isinstance(found, Registry) and found.scope == scope]


class _Code(str):
    __repr__ = str.__str__


def python_style(cfg: dict, base: str | None = None) -> str:
    """The text of a config of that style.

    Its types are imported, and it has no default scope.

    Args:
        cfg: an ordinary config, without ``_base_``.
        base: the module that it imports, such as ``'.base'``.
    """
    imports: set[str] = set()
    values = {key: _imported(value, imports)
              for key, value in cfg.items() if key != 'default_scope'}
    lines = ['from mmengine.config import read_base', *sorted(imports)]
    if base:
        lines += ['with read_base():', f'    from {base} import *']
    lines += ['default_scope = None']
    # what a dict of the base has is kept
    lines += [f'{key}.update({value!r})' if base else f'{key} = {value!r}'
              for key, value in values.items()]
    return '\n'.join(lines) + '\n'


def _imported(value, imports):
    if isinstance(value, (list, tuple)):
        return type(value)(_imported(one, imports) for one in value)
    if not isinstance(value, dict):
        return value
    made = {key: _imported(one, imports) for key, one in value.items()}
    kind = _class(value.get('type'))
    if kind is not None and kind.__module__.startswith(PACKAGES):
        # not from mmdet.models.losses.iou_loss, a function of which that name
        # hides the module from mmengine when it reads what it has written
        package = kind.__module__.rpartition('.')[0]
        assert getattr(import_module(package), kind.__name__) is kind
        imports.add(f'from {package} import {kind.__name__}')
        made['type'] = _Code(kind.__name__)
    return made


def _class(name):
    if isinstance(name, str):
        for registry in REGISTRIES:
            if name in registry.module_dict:
                return registry.module_dict[name]
    return None
