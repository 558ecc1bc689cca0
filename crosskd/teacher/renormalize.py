"""Normalising a student's input in the way of its teacher."""
from typing import Any

import torch
from mmdet.structures import SampleList
from mmengine.model import BaseDataPreprocessor
from torch import Tensor


class Renormalization:
    """Undoes a student's normalisation and applies its teacher's.

    What it takes is decided and sent to the device once, so that a step does
    nothing where both normalise alike, and else waits for nothing.

    Args:
        student, teacher: the data preprocessors.
        like: (N, C, H, W), an input of the student.

    Raises:
        ValueError: the teacher normalises another number of channels than the
            images have.
    """

    def __init__(self, student: BaseDataPreprocessor,
                 teacher: BaseDataPreprocessor, like: Tensor) -> None:
        self._made_for = _given(student, teacher, like)
        self._teacher = teacher
        channels = like.size(1)
        s_mean, s_std, s_swapped = _normalization(student)
        t_mean, t_std, t_swapped = _normalization(teacher)
        self._flips = s_swapped != t_swapped and channels == 3
        # the student's may be rounded to half precision
        self._changes = self._flips or not (
            torch.equal(s_mean, t_mean.to(s_mean.dtype))
            and torch.equal(s_std, t_std.to(s_std.dtype)))
        if not self._changes:
            return
        if t_mean.size(0) not in (1, channels):
            raise ValueError(
                'teacher_config.model.data_preprocessor normalises '
                f'{t_mean.size(0)} channels, and the images of the student '
                f'have {channels}; expected a teacher of images with '
                f'{channels}')
        s_mean, s_std, t_mean, t_std = (
            x.double() for x in (s_mean, s_std, t_mean, t_std))
        if self._flips:
            s_mean, s_std = s_mean.flip(0), s_std.flip(0)
        wide = torch.promote_types(like.dtype, torch.float32)
        self._scale = (s_std / t_std).to(like.device, wide)
        self._shift = ((s_mean - t_mean) / t_std).to(like.device, wide)

    def suits(self, student: BaseDataPreprocessor,
              teacher: BaseDataPreprocessor, like: Tensor) -> bool:
        """Whether it was made for these; arguments as those of the class."""
        given = _given(student, teacher, like)
        return all(a is b if isinstance(a, Tensor) else a == b
                   for a, b in zip(self._made_for, given))

    def __call__(self, inputs: Tensor, samples: SampleList) -> Tensor:
        """The teacher's input; the student's itself if both are alike.

        Args:
            inputs: (N, C, H, W), preprocessed for the student.
            samples: of the N images; their ``img_shape`` says where the
                padding begins.
        """
        if not self._changes:
            return inputs
        if self._flips:
            inputs = inputs.flip(1)
        out = torch.addcmul(self._shift, inputs, self._scale)
        # padding is laid around the normalised image, so it is not transformed
        value = getattr(self._teacher, 'pad_value', 0)
        for image, sample in zip(out, samples):
            h, w = sample.img_shape[:2]
            for padding in (image[:, h:], image[:, :h, w:]):
                if padding.numel():
                    padding.fill_(value)
        return out


def _buffers(preprocessor: Any) -> tuple[Any, Any, bool]:
    swapped = getattr(preprocessor, '_channel_conversion', False)
    if getattr(preprocessor, '_enable_normalize', False):
        return preprocessor.mean, preprocessor.std, swapped
    return None, None, swapped


def _given(student: BaseDataPreprocessor, teacher: BaseDataPreprocessor,
           like: Tensor) -> tuple:
    return (teacher, *_buffers(student), *_buffers(teacher), like.size(1),
            like.dtype, like.device)


def _normalization(preprocessor: BaseDataPreprocessor
                   ) -> tuple[Tensor, Tensor, bool]:
    """Mean and std, each (C or 1, 1, 1), and whether channels are swapped."""
    mean, std, swapped = _buffers(preprocessor)
    if mean is None:
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1), swapped
    return mean.cpu(), std.cpu(), swapped
