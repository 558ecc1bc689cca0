"""Importing it lets convolutions in bfloat16 run at float32's speed on a CPU.

Without bfloat16 instructions a CPU takes 15 to 200 times as long for them.
What a GPU does is emulated: products and sums in float32 from rounded values,
the result rounded again, forward as well as backward.  It differs from a GPU
by the order of summation.
"""
import torch
from torch.nn import functional

_conv2d = functional.conv2d


def conv2d(input, weight, bias=None, *args, **kwargs):
    if input.dtype != torch.bfloat16 or input.device.type != 'cpu':
        return _conv2d(input, weight, bias, *args, **kwargs)
    # the casts round gradients on their way back, too
    out = _conv2d(input.float(), weight.float(),
                  None if bias is None else bias.float(), *args, **kwargs)
    return out.bfloat16()


functional.conv2d = conv2d
