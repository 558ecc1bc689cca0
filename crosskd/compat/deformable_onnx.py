"""mmcv's deformable convolutions become ONNX nodes while a model is traced.

What: for a block, mmcv's functions for deformable convolutions make a node of
ONNX's ``DeformConv``, wherever the model's modules have imported them.
Why: mmcv's compiled ops cannot be traced.  ONNX has an operator of the same
definition.
Until: mmcv's ops can be exported by ``torch.onnx``; no version's can.
"""
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmcv.ops import DeformConv2d, deform_conv2d, modulated_deform_conv2d
from torch import Tensor, nn
from torch.nn.modules.utils import _pair


@contextmanager
def traceable(model: nn.Module) -> Iterator[None]:
    """Let a model call ONNX's operator where it calls mmcv's ops."""
    ops = ((deform_conv2d, _deform_conv2d),
           (modulated_deform_conv2d, _modulated_deform_conv2d))
    modules = {sys.modules[kind.__module__] for part in model.modules()
               for kind in type(part).__mro__}
    with ExitStack() as stack:

        def replace(place: Any, name: str, new: Any) -> None:
            stack.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, new)

        for module in modules:
            for name, value in list(vars(module).items()):
                for op, node in ops:
                    if value is op:
                        replace(module, name, node)
        replace(DeformConv2d, 'forward', _forward)
        yield


def _forward(layer: DeformConv2d, x: Tensor, offset: Tensor) -> Tensor:
    """As mmcv's, but without padding maps that are smaller than the kernel."""
    return _deform_conv2d(x, offset, layer.weight, layer.stride,
                          layer.padding, layer.dilation, layer.groups,
                          layer.deform_groups)


def _deform_conv2d(x: Tensor, offset: Tensor, weight: Tensor,
                   stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                   groups: int = 1, deform_groups: int = 1,
                   *_: Any) -> Tensor:
    return _node(x, weight, offset, (), stride, padding, dilation, groups,
                 deform_groups)


def _modulated_deform_conv2d(x: Tensor, offset: Tensor, mask: Tensor,
                             weight: Tensor, bias: Tensor | None = None,
                             stride: Any = 1, padding: Any = 0,
                             dilation: Any = 1, groups: int = 1,
                             deform_groups: int = 1) -> Tensor:
    return _node(x, weight, offset, (bias, mask), stride, padding, dilation,
                 groups, deform_groups)


def _node(x: Tensor, weight: Tensor, offset: Tensor,
          more: tuple[Tensor | None, ...], stride: Any, padding: Any,
          dilation: Any, groups: int, deform_groups: int) -> Tensor:
    vertical, horizontal = _pair(padding)
    return torch.onnx.ops.symbolic(
        'DeformConv', (x, weight, offset, *more),
        dict(strides=_pair(stride), dilations=_pair(dilation), group=groups,
             offset_group=deform_groups, kernel_shape=tuple(weight.shape[2:]),
             pads=(vertical, horizontal) * 2),
        # an offset for each location of the output
        dtype=x.dtype, shape=(x.shape[0], weight.shape[0], *offset.shape[2:]),
        version=19)
