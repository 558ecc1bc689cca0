"""Finding and reading a teacher's config."""
import copy
import inspect
import sys
from pathlib import Path

import mmdet
from mmdet.models.detectors import SingleStageDetector
from mmengine.config import Config, ConfigDict

from ..errors import ConfigFileNotFoundError, ConfigValueError, describe, words
from .pipelines import with_preprocessor


def find_config(name: str, key: str = 'teacher_config') -> str:
    """The file that ``teacher_config`` names.

    Args:
        name: a path, or ``'package::….py'`` for a config of a package.  For
            where a relative path is looked up see
            :class:`~crosskd.teacher.Teacher`.
        key: what it is, for messages.

    Raises:
        FileNotFoundError: the file is in none of these places, or the package
            is not known to mmengine or not installed.
    """
    if '::' in name:
        try:
            return Config._get_cfg_path(name, '')[0]
        except (AssertionError, ImportError, OSError, ValueError) as e:
            raise ConfigFileNotFoundError(
                f'{key}={name!r}: {words(e)}') from None
    path = Path(name).expanduser()
    installed = Path(mmdet.__file__).parent / '.mim'
    beside = [
        Path(arg).parent for arg in sys.argv[1:]
        if arg.endswith('.py') and Path(arg).is_file()
    ]
    places = [Path.cwd(), *beside[:1], installed, installed / 'configs']
    for place in places:  # an absolute path is itself whatever the place
        if (place / path).is_file():
            return str(place / path)
    looked = [str(place / path) for place in places]
    raise ConfigFileNotFoundError(
        f'{key}={name!r}: no such config file; looked for '
        f'{" and ".join(dict.fromkeys(looked))}')


def model_config(config: str | Path | dict | Config,
                  scope: str | None) -> ConfigDict:
    """The ``model`` of a teacher config, whatever form it came in.

    Args:
        config: as for :class:`~crosskd.teacher.Teacher`.
        scope: the registry scope it is built in, if it has no
            ``default_scope`` of its own.
    """
    if isinstance(config, (str, Path)):
        file = find_config(str(config))
        try:
            config = Config.fromfile(file)
        except Exception as e:  # a config is a program of its own
            raise ConfigValueError(f'teacher_config={file!r}: cannot be read: '
                                   f'{describe(e)}') from None
    model = config.get('model')
    if not isinstance(model, dict) or 'type' not in model:
        raise ConfigValueError(
            "teacher_config: expected a config with a 'model', "
            f'found the keys {sorted(config)}')
    model = ConfigDict(copy.deepcopy(dict(model)))
    if config.get('data_preprocessor') is not None:  # as the Runner merges it
        model.setdefault('data_preprocessor',
                         copy.deepcopy(config.get('data_preprocessor')))
    with_preprocessor(model, config)
    scope = config.get('default_scope') or scope
    if scope is not None:
        model.setdefault('_scope_', scope)
    if any(str(key).startswith('teacher_') for key in model):
        _leave_out_teacher(model)
    return model


def _leave_out_teacher(model: ConfigDict) -> None:
    """Turn a distilled student into the plain detector that it is."""
    known = inspect.signature(SingleStageDetector.__init__).parameters
    for key in set(model) - set(known) - {'_scope_'}:
        del model[key]
    model.type = SingleStageDetector
