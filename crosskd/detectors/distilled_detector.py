"""Any mmdet detector, as one that learns from a teacher."""
import copyreg
from abc import ABCMeta
from functools import cache
from inspect import signature
from typing import Any

from mmdet.models.detectors import BaseDetector, SemiBaseDetector
from mmdet.registry import MODELS

from ..errors import ConfigTypeError, ConfigValueError
from ..names import did_you_mean
from .mixin import DistillationMixin


class _Made(ABCMeta):
    """The metaclass of the classes that are made here.

    Pickle stores the plain class, so that another process makes the same
    class from it.
    """
    plain_class: type[BaseDetector]


def _reduce(made: _Made) -> tuple:
    return distilled_class, (made.plain_class, )


copyreg.pickle(_Made, _reduce)


@cache
def distilled_class(plain: type[BaseDetector]) -> type[DistillationMixin]:
    """The distilled class of a plain detector class, always the same one.

    Args:
        plain: the class of the plain detector.

    Raises:
        TypeError: it is not an mmdet detector, or it already has a teacher.
    """
    if not (isinstance(plain, type) and issubclass(plain, BaseDetector)):
        raise ConfigTypeError(
            f'model.detector: {plain!r} is not an mmdet detector')
    if issubclass(plain, DistillationMixin):
        raise ConfigTypeError(
            f'model.detector: {plain.__name__} is already a distilled '
            'detector; name the plain one here, or set model.type to it')
    if _has_teacher(plain):
        raise ConfigTypeError(
            f'model.detector: {plain.__name__} already has a teacher of its '
            'own; expected a plain detector')
    name = f'Distilled{plain.__name__}'
    if name in globals():  # of another package, under the same name
        name += f'_of_{plain.__module__.replace(".", "_")}'
    made: Any = _Made(name, (DistillationMixin, plain), dict(
        __module__=__name__, plain_class=plain,
        __doc__=f'{plain.__name__} that learns what ``kd_cfg`` says.'))
    globals()[name] = made
    return made


def _has_teacher(plain: type[BaseDetector]) -> bool:
    """Whether a plain detector is one that learns from a teacher already."""
    return issubclass(plain, SemiBaseDetector) or any(
        name.startswith('teacher_') for name in signature(plain).parameters)


@MODELS.register_module(name='DistilledDetector')
def build_distilled_detector(detector: str | type[BaseDetector] | None = None,
                             **kwargs: Any) -> DistillationMixin:
    """Build any mmdet detector as one that learns from a teacher.

    The result is an instance of a subclass of the plain detector's class, and
    its checkpoint is that of the plain detector.  Its features can be
    distilled and, if its head has an adapter, also its predictions.

    Example config::

        _base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        runner_type = 'DistillationRunner'
        model = dict(
            type='DistilledDetector',
            detector='FasterRCNN',
            teacher_config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0)))

    Args:
        detector: the plain detector's class, or its name.
        kwargs: arguments of that class, and of
            :class:`~crosskd.detectors.DistillationMixin`.

    Raises:
        TypeError, ValueError: there is no such detector, or it refuses its
            arguments.
    """
    return distilled_class(find_detector(detector))(**kwargs)


def find_detector(detector: Any) -> Any:
    """The class of a detector by its name in the current scope.

    Raises:
        TypeError, ValueError: no class has that name, or it is not a name.
    """
    if isinstance(detector, type):
        return detector
    if not isinstance(detector, str):
        raise ConfigTypeError(
            "model.detector: expected the plain detector's type, such as "
            f"'FasterRCNN', found {detector!r}")
    with MODELS.switch_scope_and_registry(None) as registry:
        found = registry.get(detector)
    if found is None:
        names = [name for name, kind in MODELS.module_dict.items()
                 if isinstance(kind, type) and issubclass(kind, BaseDetector)]
        raise ConfigValueError(
            f'model.detector={detector!r}: no detector is registered under '
            f'that name{did_you_mean(detector, names)}')
    return found


def __getattr__(name: str) -> Any:
    """Make ``DistilledFasterRCNN`` when it is looked up by its name."""
    plain = name.removeprefix('Distilled')
    kind = MODELS.module_dict.get(plain)
    if plain != name and isinstance(kind, type) and issubclass(
            kind, BaseDetector):
        return distilled_class(kind)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
