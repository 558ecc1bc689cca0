"""Normalising a student's input in the way of its teacher."""
from typing import Any

import torch
from mmdet.structures import SampleList
from mmengine.model import BaseDataPreprocessor
from torch import Tensor


def _normalization(preprocessor: Any) -> tuple[Tensor, Tensor, bool]:
    """Mean and std, each (C or 1, 1, 1), and whether channels are swapped."""
    swapped = getattr(preprocessor, '_channel_conversion', False)
    if getattr(preprocessor, '_enable_normalize', False):
        return preprocessor.mean, preprocessor.std, swapped
    return torch.zeros(1, 1, 1), torch.ones(1, 1, 1), swapped


def renormalize(inputs: Tensor, samples: SampleList,
                student: BaseDataPreprocessor,
                teacher: BaseDataPreprocessor) -> Tensor:
    """Undo the student's normalisation and apply the teacher's.

    The inputs are returned as they are where both normalise alike.

    Args:
        inputs: (N, C, H, W), preprocessed for the student.
        samples: of the N images; their ``img_shape`` says where the padding
            begins.
        student, teacher: the data preprocessors.

    Returns:
        Tensor: (N, C, H, W).

    Raises:
        ValueError: the teacher normalises another number of channels than the
            images have.
    """
    s_mean, s_std, s_swapped = _normalization(student)
    t_mean, t_std, t_swapped = _normalization(teacher)
    s_mean, s_std, t_mean, t_std = (
        x.to(inputs.device) for x in (s_mean, s_std, t_mean, t_std))
    if (s_swapped == t_swapped and torch.equal(s_mean, t_mean)
            and torch.equal(s_std, t_std)):
        return inputs
    channels = inputs.size(1)
    if t_mean.size(0) not in (1, channels):
        raise ValueError(
            'teacher_config.model.data_preprocessor normalises '
            f'{t_mean.size(0)} channels, and the images of the student have '
            f'{channels}; expected a teacher of images with {channels}')
    pixels = inputs * s_std + s_mean
    if s_swapped != t_swapped and channels == 3:
        pixels = pixels.flip(1)
    # padding is laid around the normalised image, so it is not transformed
    out = torch.full_like(inputs, getattr(teacher, 'pad_value', 0))
    for image, pixel, sample in zip(out, pixels, samples):
        h, w = sample.img_shape[:2]
        image[:, :h, :w] = ((pixel - t_mean) / t_std)[:, :h, :w]
    return out
