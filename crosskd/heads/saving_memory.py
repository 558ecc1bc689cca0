"""Saving memory in the backward pass through layers that do not train."""
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode

T = TypeVar('T')


class SavingMemory(TorchFunctionMode):
    """In this mode, layers keep only what the gradient of their *input* needs.

    torch's convolution keeps its input for the gradient of its weight, which
    is not needed if the weight does not train.  torch's ReLU keeps its output;
    one bit per value would do, and this one keeps a byte.  Results and
    gradients are equal to torch's.  All other functions are unchanged.
    """

    def __torch_function__(self, func: Callable, types: Any,
                           args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is F.relu:
            return _relu(*args, **kwargs)
        if func is F.conv2d and torch.is_grad_enabled():
            return _conv2d(*args, **kwargs)
        return func(*args, **kwargs)


def run_saving_memory(run: Callable[[], T]) -> T:
    """Run a function in :class:`SavingMemory`, outside torch's compiler.

    If torch's compiler breaks the graph inside the mode, it confuses the mode
    with another (seen with torch 2.13: wrong regression outputs).
    """

    def within() -> T:
        with SavingMemory():
            return run()

    if 'torch._dynamo' in sys.modules:  # something has imported it
        return torch.compiler.disable(within)()
    return within()


def _relu(input: Tensor, inplace: bool = False) -> Tensor:  # as torch's
    if not (input.requires_grad and torch.is_grad_enabled()):
        return F.relu(input, inplace)
    return _ReLU.apply(input, inplace)


def _conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None,
            stride: Any = 1, padding: Any = 0, dilation: Any = 1,
            groups: int = 1) -> Tensor:  # as torch's
    trains = weight.requires_grad or (bias is not None and bias.requires_grad)
    if trains or isinstance(padding, str) or not input.requires_grad:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    return _Conv2d.apply(input, weight, bias, stride, padding, dilation,
                         groups)


class _ReLU(Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        out = F.relu(x, inplace)
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(out > 0)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        positive, = ctx.saved_tensors
        return grad * positive, None


class _Conv2d(Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None,
                *how: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.dtype, ctx.how = x.shape, x.dtype, how
        return F.conv2d(x, weight, bias, *how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, = ctx.saved_tensors
        # under autocast the three types may differ
        found = conv2d_input(
            ctx.shape, weight.to(grad.dtype), grad, *ctx.how)
        return found.to(ctx.dtype), *[None] * 6
