"""Config files: finding and reading them, and the model that they describe."""
import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmdet
from mmdet.models.detectors import KnowledgeDistillationSingleStageDetector
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict

from .errors import (
    ConfigError,
    ConfigFileNotFoundError,
    ConfigValueError,
    describe,
    in_config,
    readable,
    words,
)
from .names import did_you_mean, did_you_mean_config, did_you_mean_named
from .registry import resolve
from .variables import check_options

# arguments that only a distilled detector has
ARGUMENTS = ('teacher_config', 'teacher_ckpt', 'kd_cfg', 'trust_teacher_ckpt',
             'teacher_dtype', 'detector')
# a name and its function, whose argument 'detector' names the plain detector
BUILDER, BUILDS = 'DistilledDetector', 'build_distilled_detector'


# -- files --------------------------------------------------------------------


def find_config(name: str, key: str = 'teacher_config',
                beside: str | Path | None = None) -> str:
    """The file of a config.

    Args:
        name: a path, or ``'package::….py'`` for a config of a package.  A
            relative path is looked up from the working directory, then in
            the folder ``beside``, then among mmdet's installed configs.
        key: config key or flag that named it, for messages.
        beside: a folder, such as that of the config that names this one.

    Raises:
        FileNotFoundError: the file is in none of these places, or mmengine
            does not know the package, or it is not installed.
    """
    if '::' in name:
        try:
            return Config._get_cfg_path(name, '')[0]
        except (AssertionError, ImportError, OSError, ValueError) as e:
            raise ConfigFileNotFoundError(
                f'{key}={name!r}: {words(e)}'
                f'{did_you_mean_named(*name.split("::", 1))}') from None
    path = Path(name).expanduser()
    installed = Path(mmdet.__file__).parent / '.mim'
    places = [Path.cwd(), *([] if beside is None else [Path(beside)]),
              installed, installed / 'configs']
    for place in places:  # an absolute path is itself whatever the place
        if (place / path).is_file():
            return str(place / path)
    looked = [str(place / path) for place in places]
    raise ConfigFileNotFoundError(
        f'{key}={name!r}: no such config file; looked for '
        f'{" and ".join(dict.fromkeys(looked))}'
        f'{did_you_mean_config(str(path), places)}')


def read_config(name: str, key: str, beside: str | Path | None = None,
                options: Mapping[str, Any] | None = None) -> Config:
    """Read the file of a config.

    Args:
        name, key, beside: as for :func:`find_config`.
        options: changes to it, by dotted keys, as ``--cfg-options``.

    Returns:
        Config: its ``filename`` says where it was found.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or an option changes nothing; the
            message names the key.
    """
    file = find_config(name, key, beside)
    options = dict(options or {})
    found = f'{key}={name!r}'
    if options:
        found += f' with {options}'
    try:
        cfg = Config.fromfile(file)
        check_options(cfg, options)
        cfg.merge_from_dict(options)
    except ConfigError:
        raise
    except Exception as e:  # a config is a program of its own
        wrong = readable(e)
        raise ConfigValueError(
            f'{found}: cannot be read: '
            f'{describe(e) + in_config(e) if wrong is e else wrong}') from None
    return cfg


# -- models -------------------------------------------------------------------


def model_of(cfg: Mapping[str, Any], key: str = 'CONFIG') -> ConfigDict:
    """The model of a config, as the Runner builds it.

    Args:
        cfg: the config.
        key: config key or flag that named it, for messages.

    Returns:
        ConfigDict: a copy, with the config's ``data_preprocessor`` in it.

    Raises:
        ValueError: there is no model.
    """
    model = cfg.get('model')
    if not isinstance(model, dict) or 'type' not in model:
        raise ConfigValueError(
            f"{key}: expected a config with a 'model', "
            f'found the keys {sorted(cfg)}')
    model = ConfigDict(copy.deepcopy(dict(model)))
    preprocessor = cfg.get('data_preprocessor')
    if preprocessor is not None:
        model.setdefault('data_preprocessor', copy.deepcopy(preprocessor))
    return model


def detector_class(model: Mapping[str, Any], key: str = 'CONFIG') -> Any:
    """The class that a model's config names, in its scope.

    Args:
        model: the config, with a ``type``.
        key: what named it, for messages.

    Raises:
        ValueError: no class of that name is registered.
    """
    return _class(model, key, 'type')


def is_distilled(model: Mapping[str, Any], key: str = 'CONFIG') -> bool:
    """Whether a model's config is that of a distilled detector.

    Arguments and errors: see :func:`detector_class`.
    """
    return _is_builder(model) or _distils(detector_class(model, key))


def plain_model(model: dict[str, Any], key: str = 'CONFIG') -> Any:
    """The config of a detector without its teacher.

    Its ``type`` is the class that distillation was added to: the first class
    in the method resolution order that does not distil.  A distilled class
    has the attribute ``is_distilled = True``; mmdet's own
    ``KnowledgeDistillationSingleStageDetector`` also counts as one.

    Args:
        model: the config of a distilled detector, or of a plain one.
        key: what named it, for messages.

    Returns:
        dict: a copy, of the same Python type as ``model``, without the
        arguments that only distilled classes have.

    Raises:
        ValueError: no class of that name is registered.
    """
    model = copy.deepcopy(model)
    if not is_distilled(model, key):
        return model
    kind = _class(model, key, 'detector' if _is_builder(model) else 'type')
    plain = next(c for c in kind.__mro__ if not _distils(c))
    left_out = {*ARGUMENTS, *_parameters(kind)} - set(_parameters(plain))
    for name in left_out:
        model.pop(name, None)
    model['type'] = plain
    return model


def _class(model: Mapping[str, Any], key: str, by: str) -> Any:
    scope = model.get('_scope_')
    kind = resolve(MODELS, model[by], scope)
    if kind is None:
        known = MODELS.module_dict
        where = f' in the scope {scope!r}' if scope else ''
        near = '' if model[by] in known else did_you_mean(model[by], known)
        raise ConfigValueError(
            f'{key}: model.{by}={model[by]!r} is not registered{where}; '
            'expected an mmdet detector, or custom_imports that register '
            f'it{near}')
    return kind


def _is_builder(model: Mapping[str, Any]) -> bool:
    name = getattr(model['type'], '__name__', str(model['type']))
    return name.rpartition('.')[2] in (BUILDER, BUILDS)


def _distils(kind: Any) -> bool:
    return getattr(kind, 'is_distilled', False) or (isinstance(
        kind, type) and issubclass(
            kind, KnowledgeDistillationSingleStageDetector))


def _parameters(kind: type) -> list[str]:
    """Names of the arguments of a class and its base classes."""
    return [name for c in kind.__mro__ if '__init__' in vars(c)
            for name in inspect.signature(vars(c)['__init__']).parameters]
