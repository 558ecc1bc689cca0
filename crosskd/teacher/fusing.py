"""Batch norms of a frozen detector become part of their convolutions."""
import copy
from collections.abc import Iterator
from contextlib import contextmanager

from mmcv.cnn import fuse_conv_bn
from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn
from torch import __future__ as future
from torch.nn.modules.batchnorm import _BatchNorm

from ..numerics.alike import alike
from .unfusing import watch_loading


def fuse_norms(detector: SingleStageDetector, images: Tensor) -> str:
    """Fuse the batch norms into the convolutions before them, in place.

    mmcv goes by the order in which layers were registered, which is not always
    the order in which they run.  So the detector is run before and after, and
    is left as it was where its maps are not the same.

    Args:
        detector: in eval mode, in float32.
        images: (N, C, H, W), what it is given.

    Returns:
        str: what was done, for the log; empty where it has no batch norms.
    """
    count = _count_norms(detector)
    if not count:
        return ''
    before = _maps(detector, images)
    layers = [(m, dict(m._modules), dict(m._parameters))
              for m in detector.modules()]
    try:
        with _new_parameters():
            for part in detector.children():
                if part is not detector.data_preprocessor:
                    part.double()  # so that a fused weight is rounded once
            _separate_convolutions(detector)
            fuse_conv_bn(detector).float()
        detector.requires_grad_(False).eval()
        same = all(map(alike, before, _maps(detector, images)))
    except (RuntimeError, TypeError):  # not a convolution's norm at all
        same = False
    if not same:
        for module, children, parameters in layers:
            module._modules.update(children)
            module._parameters.update(parameters)
        detector.float()
        return (f'its {count} batch norms are not fused: that would change '
                'its predictions')
    watch_loading(detector, {m: children for m, children, _ in layers})
    return (f'{count - _count_norms(detector)} of its {count} batch norms are '
            'fused into convolutions')


def _separate_convolutions(detector: nn.Module) -> None:
    """Give layers that share a convolution, with norms of their own, each one.

    As the levels of RTMDet's head do.
    """
    seen = set()
    for module in detector.modules():
        for name, child in module._modules.items():
            if isinstance(child, nn.Conv2d):
                if child in seen:
                    module._modules[name] = copy.deepcopy(child)
                seen.add(child)


@contextmanager
def _new_parameters() -> Iterator[None]:
    """Let a cast make new parameters, and leave those that there are."""
    flag = future.get_overwrite_module_params_on_conversion()
    future.set_overwrite_module_params_on_conversion(True)
    try:
        yield
    finally:
        future.set_overwrite_module_params_on_conversion(flag)


def _count_norms(detector: nn.Module) -> int:
    return sum(isinstance(m, _BatchNorm) for m in detector.modules())


def _maps(detector: SingleStageDetector, images: Tensor) -> list[Tensor]:
    features = detector.extract_feat(images)
    outputs = detector.bbox_head(features)
    return [*features, *(x for levels in outputs for x in levels)]
