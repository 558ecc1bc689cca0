"""Refusing configs of what is no plain detector."""
from collections.abc import Sequence

from mmdet.models.detectors import SingleStageDetector
from mmengine.config import Config

from ...configs import detector_class, is_distilled
from ...data_checks.classes import classes_of
from ...data_checks.leaves import leaves
from ...errors import ConfigTypeError


def single_stage_class(key: str, name: str, cfg: Config) -> type:
    """The class of a plain single-stage detector, without building it.

    Raises:
        TypeError, ValueError: it is another kind of detector; the message says
            which kinds can be distilled.
    """
    kind = detector_class(cfg.model, f'{key}={name!r}')
    if not (isinstance(kind, type)
            and issubclass(kind, SingleStageDetector)):
        raise ConfigTypeError(
            f'{key}={name!r}: model.type={cfg.model.type!r} is no '
            'single-stage detector; expected one with a dense bbox_head '
            '(detectors of two stages and transformers such as '
            'DETR cannot be distilled)')
    return kind


def check_student(key: str, name: str, cfg: Config) -> type:
    """Check that nothing of a detector is lost when it is distilled.

    Args:
        key: what it is, for messages.
        name: what the user called its config.
        cfg: its config.

    Returns:
        type: its class.

    Raises:
        TypeError, ValueError: it is no single-stage detector, is distilled
            already, or its class does more than mmdet's
            ``SingleStageDetector``.
    """
    found = f'{key}={name!r}: model.type={cfg.model.type!r}'
    if is_distilled(cfg.model, f'{key}={name!r}'):
        raise ConfigTypeError(
            f'{found} is distilled already; expected the plain '
            "student's config")
    kind = single_stage_class(key, name, cfg)
    own = kind.__mro__[:kind.__mro__.index(SingleStageDetector)]
    methods = sorted(
        name for base in own for name, value in vars(base).items()
        if callable(value) and (not base.__module__.startswith('mmdet.')
                                or name != '__init__'))
    if methods:
        raise ConfigTypeError(
            f'{found} has methods of its own ({", ".join(methods)}), which '
            'the distilled detector would not have. Register '
            f'class Mine(DistillationMixin, {kind.__name__}), with '
            'DistillationMixin from crosskd.detectors, and make it the type '
            'of a config: docs/configuration.md')
    return kind


def class_names(cfg: Config, *loaders: str) -> Sequence[str] | None:
    """Names of the classes that a config's data has, where it says so.

    Args:
        cfg: the config.
        loaders: keys of data loaders; the first that has names counts.
    """
    for key in loaders:
        loader = cfg.get(key) or {}
        for leaf in leaves(f'{key}.dataset', loader.get('dataset')):
            names = classes_of(leaf) if leaf.is_known else None
            if names is not None:
                return names
    return None
