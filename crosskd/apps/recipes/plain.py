"""Refusing configs that are not those of plain detectors."""
from collections.abc import Sequence

from mmdet.models.detectors import BaseDetector, SingleStageDetector
from mmengine.config import Config

from ...configs import detector_class, is_distilled
from ...data_checks.classes import classes_of
from ...data_checks.leaves import leaves
from ...errors import ConfigTypeError


def plain_class(key: str, name: str, cfg: Config) -> type:
    """The class of a plain detector, without building it.

    Raises:
        TypeError, ValueError: it is not a detector, or it is distilled.
    """
    found = f'{key}={name!r}: model.type={cfg.model.type!r}'
    if is_distilled(cfg.model, f'{key}={name!r}'):
        raise ConfigTypeError(
            f'{found} is already distilled; expected the config of the plain '
            'detector')
    kind = detector_class(cfg.model, f'{key}={name!r}')
    if not (isinstance(kind, type) and issubclass(kind, BaseDetector)):
        raise ConfigTypeError(f'{found} is not an mmdet detector')
    return kind


def check_student(name: str, cfg: Config, kind: type) -> None:
    """Check that the distilled class has all methods of the student.

    Args:
        name: the config, as the user named it.
        cfg: its config.
        kind: its class.

    Raises:
        TypeError: its class has more methods than mmdet's
            ``SingleStageDetector``.
    """
    found = f'STUDENT_CONFIG={name!r}: model.type={cfg.model.type!r}'
    base = (SingleStageDetector if issubclass(kind, SingleStageDetector)
            else BaseDetector)
    own = kind.__mro__[:kind.__mro__.index(base)]
    methods = sorted(
        name for base in own for name, value in vars(base).items()
        if callable(value) and (not base.__module__.startswith('mmdet.')
                                or name != '__init__'))
    if methods:
        raise ConfigTypeError(
            f'{found} has methods of its own ({", ".join(methods)}), which '
            'the distilled detector would not have. Register a '
            f'class Mine(DistillationMixin, {kind.__name__}), with '
            'DistillationMixin from crosskd.detectors, and use it as the type '
            'in a config (see docs/configuration.md)')


def class_names(cfg: Config, *loaders: str) -> Sequence[str] | None:
    """Names of the classes of a config's data; None if it has none.

    Args:
        cfg: the config.
        loaders: keys of data loaders; the first with names is used.
    """
    for key in loaders:
        loader = cfg.get(key) or {}
        for leaf in leaves(f'{key}.dataset', loader.get('dataset')):
            names = classes_of(leaf) if leaf.is_known else None
            if names is not None:
                return names
    return None
