"""Mean and deviation of each channel of feature maps, in float32 or better."""

import torch
from torch import Tensor

from .precision import at_least_float32

EPS = 1e-6
# Far below EPS**2: bounds the gradient of the square root, changes no value.
TINY_VARIANCE = 1e-24


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sample standard deviation per channel over batch and space.

    A single value has no sample deviation; it is taken as 0 instead of the
    NaN of ``torch.std``, so that a 1×1 level of one image stays finite.

    Args:
        x: (N, C, H, W), of any floating type; computed in float32 at least.

    Returns:
        tuple: mean and standard deviation, each (1, C, 1, 1), differentiable.
    """
    shape = (1, -1, 1, 1)
    values = at_least_float32(x).transpose(0, 1).flatten(1)
    mean = values.mean(1)
    if values.size(1) == 1:
        return mean.view(shape), torch.zeros_like(mean).view(shape)
    std = values.var(1, unbiased=True).clamp(min=TINY_VARIANCE).sqrt()
    return mean.view(shape), std.view(shape)


def standardize(x: Tensor) -> Tensor:
    """``(x - mean) / (std + 1e-6)`` per channel over batch and space.

    Args:
        x: (N, C, H, W), of any floating type; computed in float32 at least.

    Returns:
        Tensor: (N, C, H, W).
    """
    with torch.autocast(x.device.type, enabled=False):
        x = at_least_float32(x)
        mean, std = channel_statistics(x)
        return (x - mean) / (std + EPS)


def align_statistics(student: Tensor, teacher: Tensor) -> Tensor:
    """Give a student's feature maps the channel statistics of the teacher's.

    ``(h_s - mean(h_s)) / (std(h_s) + 1e-6) * std(h_t) + mean(h_t)`` per
    channel over batch and space, so that the teacher's layers see values in
    the range they were trained on.  Gradients flow through the student's
    statistics, too.

    Args:
        student: (N, C, H, W) intermediate feature maps of the student's head.
        teacher: (N, C, H, W) those of the teacher's head, at the same layer;
            no gradient flows into them.

    Returns:
        Tensor: (N, C, H, W), in the teacher's data type.
    """
    standard = standardize(student)
    with torch.autocast(student.device.type, enabled=False):
        mean, std = channel_statistics(at_least_float32(teacher.detach()))
        aligned = standard * std + mean
        # a lone peak of the student's is many deviations high
        limit = torch.finfo(teacher.dtype).max
        return aligned.clamp(-limit, limit).to(teacher.dtype)
