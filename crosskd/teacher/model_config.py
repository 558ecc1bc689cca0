"""The model that a teacher's config describes."""
from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..configs import model_of, plain_model, read_config
from .pipelines import with_preprocessor

KEY = 'teacher_config'


def model_config(config: str | Path | dict | Config, scope: str | None,
                 beside: Path | None = None) -> ConfigDict:
    """The ``model`` of a teacher config, given in any form.

    A teacher that was distilled itself becomes the plain detector.

    Args:
        config: as for :class:`~crosskd.teacher.Teacher`.
        scope: the registry scope to build it in, if it has no
            ``default_scope`` of its own.
        beside: the folder of the student's config, if it is known.

    Raises:
        FileNotFoundError, ValueError: it does not exist, cannot be read, or
            has no model of a registered type.
    """
    if isinstance(config, (str, Path)):
        config = read_config(str(config), KEY, beside)
    model = model_of(config, KEY)
    with_preprocessor(model, config)
    scope = config.get('default_scope') or scope
    if scope is not None:
        model.setdefault('_scope_', scope)
    return plain_model(model, KEY)
