"""The model that a teacher's config describes."""
from pathlib import Path

from mmdet.models.detectors import BaseDetector
from mmengine.config import Config, ConfigDict

from ..configs import detector_class, model_of, plain_model, read_config
from .feature_teacher import FeatureTeacher
from .pipelines import with_preprocessor
from .timm_teacher import TimmTeacher

KEY = 'teacher_config'


def model_config(config: str | Path | dict | Config, scope: str | None,
                 beside: Path | None = None) -> ConfigDict:
    """The ``model`` of a teacher config, given in any form.

    A teacher that was distilled itself becomes the plain detector.  A model
    that is no detector becomes a
    :class:`~crosskd.teacher.feature_teacher.FeatureTeacher`.

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
    elif 'model' not in config and 'type' in config:
        config = dict(model=dict(config))
    model = model_of(config, KEY)
    scope = config.get('default_scope') or scope
    if scope is not None:
        model.setdefault('_scope_', scope)
    if not _is_timm(model):  # which says how its images are normalised
        with_preprocessor(model, config)
    kind = detector_class(model, KEY)
    if isinstance(kind, type) and not issubclass(kind, BaseDetector):
        preprocessor = model.pop('data_preprocessor', None)
        return ConfigDict(type=FeatureTeacher, backbone=model,
                          data_preprocessor=preprocessor,
                          _scope_=model.get('_scope_'))
    return plain_model(model, KEY)


def brings_weights(model: ConfigDict) -> bool:
    """Whether a model has weights when it is built, from timm."""
    return _is_timm(model) and bool(model.get('pretrained'))


def with_random_weights(model: ConfigDict) -> ConfigDict:
    """The config of the same model, for which timm downloads no weights."""
    if brings_weights(model):
        model.pretrained = False
    return model


def _is_timm(model: ConfigDict) -> bool:
    kind = detector_class(model, KEY)
    return isinstance(kind, type) and issubclass(kind, TimmTeacher)
