"""A model of timm as teacher."""
from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor, nn

from ..compat.timm_without_torchvision import import_timm
from ..errors import ConfigTypeError, ConfigValueError, describe
from ..names import did_you_mean
from .feature_teacher import FeatureTeacher
from .maps import Maps

NAME = 'TimmTeacher'


@MODELS.register_module()
class TimmTeacher(FeatureTeacher):
    """A model of timm, such as DINOv2, whose features teach a detector.

    It needs timm (``pip install timm``).  Its images are normalised with the
    mean and deviation that timm has for the model, and resized to multiples of
    its patch; position embeddings are interpolated where the model can.  The
    maps are normalised by the model's last norm layer, as timm does it.

    Example config: ``teacher_config=dict(type='TimmTeacher',
    name='vit_small_patch14_dinov2')``, beside
    ``kd_cfg=dict(loss_feat_kd=dict(type='CosineFeatureLoss'))``.

    Args:
        name: of the model, as for ``timm.create_model``.
        out_indices: which of its feature maps are used, by index; for a
            vision transformer the index of a block.  Negative ones count from
            the last.
        pretrained: let timm download the weights.  Otherwise ``teacher_ckpt``
            names a file with them, under timm's names.
        data_preprocessor: config of its normalisation, instead of timm's.
        kwargs: further arguments of ``timm.create_model``.

    Raises:
        TypeError, ValueError: timm is not installed, has no such model, or
            cannot make or download it; or the model has no such feature map.
    """

    def __init__(self, name: str, out_indices: Sequence[int] = (-1, ),
                 pretrained: bool = False,
                 data_preprocessor: dict | None = None,
                 **kwargs: Any) -> None:
        if not isinstance(pretrained, bool):
            raise ConfigTypeError(
                f'{NAME}: pretrained must be True or False, found '
                f'{pretrained!r}; teacher_ckpt names a file')
        timm = _timm()
        model = _create(timm, name, pretrained, kwargs)
        super().__init__(
            _TimmMaps(model, _checked(name, out_indices, model)),
            data_preprocessor or _normalization(timm, model))
        self._name = name

    @property
    def title(self) -> str:
        return self._name


class _TimmMaps(Maps):
    """Runs a timm model as far as the last feature map that is used."""

    def __init__(self, model: nn.Module, indices: list[int]) -> None:
        super().__init__(model)
        self._indices = indices

    def run(self, images: Tensor) -> Any:
        return self.model.forward_intermediates(
            images, indices=self._indices, norm=True, stop_early=True,
            output_fmt='NCHW', intermediates_only=True)


def _timm() -> Any:
    try:
        return import_timm()
    except ImportError as e:
        raise ConfigValueError(
            f'{NAME} needs timm, which cannot be imported '
            f"({describe(e)}). Install it with: pip install timm, or with "
            "crosskd's extra 'timm'") from None


def _create(timm: Any, name: Any, pretrained: bool,
            kwargs: dict[str, Any]) -> Any:
    if not isinstance(name, str):
        raise ConfigTypeError(
            f'{NAME}: name must be that of a timm model, found {name!r}')
    known = timm.list_models()
    if ':' not in name and not timm.is_model(name):  # else of a hub
        raise ConfigValueError(
            f'{NAME}: name={name!r}: timm {timm.__version__} has no such model'
            f'{did_you_mean(name.partition(".")[0], known)}')
    try:
        # a vision transformer takes images of one size otherwise
        given = dict(dynamic_img_size=True) | kwargs
        try:
            return timm.create_model(name, pretrained=pretrained, **given)
        except TypeError as e:
            if 'dynamic_img_size' in kwargs or 'dynamic_img_size' not in str(
                    e):
                raise
            return timm.create_model(name, pretrained=pretrained, **kwargs)
    except Exception as e:  # of the model, the network, or a hub
        advice = ('. Without a network, save its weights to a file, and name '
                  'that in teacher_ckpt instead of pretrained=True'
                  if pretrained else '')
        raise ConfigValueError(
            f'{NAME}: timm cannot make {name!r}: '
            f'{describe(e).rstrip(".")}{advice}') from None


def _checked(name: str, indices: Any, model: Any) -> list[int]:
    if not hasattr(model, 'forward_intermediates'):
        raise ConfigValueError(
            f'{NAME}: name={name!r}: expected a model that returns feature '
            'maps (forward_intermediates), which this one does not')
    key = f'{NAME}: out_indices'
    if not isinstance(indices, (list, tuple)) or not indices or any(
            isinstance(i, bool) or not isinstance(i, int) for i in indices):
        raise ConfigTypeError(
            f'{key} must be a tuple of integers, found {indices!r}')
    count = len(model.feature_info)
    found = sorted(i % count if -count <= i < count else i for i in indices)
    if not 0 <= found[0] <= found[-1] < count or len({*found}) < len(found):
        raise ConfigValueError(
            f'{key}={tuple(indices)}: {name} has {count} feature maps; '
            f'expected different numbers from 0 to {count - 1}')
    return found


def _normalization(timm: Any, model: nn.Module) -> dict[str, Any]:
    """Its data preprocessor, for images in BGR and values up to 255."""
    data = timm.data.resolve_model_data_config(model)
    return dict(
        type='mmdet.DetDataPreprocessor', bgr_to_rgb=True,
        mean=[255 * x for x in data['mean']],
        std=[255 * x for x in data['std']])
