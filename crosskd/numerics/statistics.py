"""Changing the mean and deviation of feature maps, channel by channel."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .precision import at_least_float32

EPS = 1e-6
# Far below EPS**2: it bounds the square root's gradient, and changes no value.
TINY_VARIANCE = 1e-24
ALL_BUT_CHANNELS = (0, 2, 3)


def standardize(maps: Sequence[Tensor]) -> list[Tensor]:
    """``(x - mean) / (std + 1e-6)`` per channel over batch and space.

    The deviation is that of a sample, as in ``torch.std``; for a single value
    it is 0.

    Args:
        maps: each (N, C, H, W), of any floating type; sizes may differ.

    Returns:
        list[Tensor]: in the same shapes, in float32 at least.
    """
    # autocast would keep the casts, or compute, in half precision
    with torch.autocast(maps[0].device.type, enabled=False):
        return list(_Rescale.apply(None, None, None, *maps))


def align_statistics(students: Sequence[Tensor],
                     teachers: Sequence[Tensor]) -> list[Tensor]:
    """Give the student's feature maps the teacher's channel statistics.

    ``(h_s - mean(h_s)) / (std(h_s) + 1e-6) * std(h_t) + mean(h_t)`` per
    channel over batch and space, so that the teacher's layers get values in
    the range they were trained on.  Gradients also flow through the student's
    statistics.

    Args:
        students: each (N, C, H, W), intermediate feature maps of the student's
            head.
        teachers: those of the teacher's head, at the same layers; no gradient
            flows into them.

    Returns:
        list[Tensor]: (N, C, H, W) each, in the teacher's data type.
    """
    with torch.autocast(students[0].device.type, enabled=False):
        with torch.no_grad():
            mean, std = _statistics([at_least_float32(t) for t in teachers])
        return list(_Rescale.apply(mean, std, teachers[0].dtype, *students))


class _Rescale(Function):
    """Standardise maps, multiply by a deviation, and add a mean.

    It handles all maps at once, because operations on statistics are small.
    It keeps only the maps, which the student keeps anyway; autograd would keep
    three copies of each for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor | None, std: Tensor | None,
                dtype: torch.dtype | None, *maps: Tensor
                ) -> tuple[Tensor, ...]:
        values = [at_least_float32(x) for x in maps]
        own_mean, own_std = _statistics(values)
        factor = (own_std + EPS).reciprocal_()
        if std is not None:
            factor.mul_(std)
        shift = own_mean.mul(factor).neg_()
        if mean is not None:
            shift.add_(mean)
        ctx.save_for_backward(own_mean, own_std, factor, *maps)
        made = (torch.addcmul(b, x, a) for x, a, b in zip(
            values, _by_map(factor, values), _by_map(shift, values)))
        if dtype is None or dtype.itemsize >= 4:
            return tuple(made)
        # a single peak in the student's map is many deviations high
        limit = torch.finfo(dtype).max
        return tuple(x.clamp_(-limit, limit).to(dtype) for x in made)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        mean, std, factor, *maps = ctx.saved_tensors
        grads = tuple(at_least_float32(g) for g in grads)
        values = [at_least_float32(x) for x in maps]
        sums = torch.cat([g.sum(ALL_BUT_CHANNELS) for g in grads])
        products = torch.cat([(g * x).sum(ALL_BUT_CHANNELS)
                              for g, x in zip(grads, values)])
        counts = [x.numel() // x.size(1) for x in values]
        inverse, sample = (
            torch.cat([g.new_full((x.size(1), ), 1 / max(n - less, 1))
                       for g, x, n in zip(grads, values, counts)])
            for less in (0, 1))
        # through the deviation, whose gradient is (x - mean) / (n - 1) / std
        slope = -(products - mean * sums) * factor * sample / (
            (std + EPS) * std)
        slope = torch.where(std > 2 * TINY_VARIANCE**0.5, slope, 0)
        constant = -factor * sums * inverse - slope * mean
        made = (torch.addcmul(torch.addcmul(c, g, a), x, b).to(like.dtype)
                for g, x, like, a, b, c in zip(
                    grads, values, maps, _by_map(factor, values),
                    _by_map(slope, values), _by_map(constant, values)))
        return (None, None, None, *made)


def _statistics(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Means and sample deviations of all channels of all maps."""
    found = [torch.var_mean(x, ALL_BUT_CHANNELS,
                            correction=int(x.numel() > x.size(1)))
             for x in maps]
    variances, means = (torch.cat(x) for x in zip(*found))
    return means, variances.clamp_(min=TINY_VARIANCE).sqrt_()


def _by_map(values: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """Values of the channels of all maps as (1, C, 1, 1), for each map."""
    return [x.view(1, -1, 1, 1)
            for x in values.split([m.size(1) for m in maps])]
