"""Converting a student's input to the normalisation of its teacher."""
import logging
from typing import Any

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import SampleList
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from torch import Tensor

from ..errors import ConfigValueError
from .pipelines import Normalized

FAR = 10  # times the values that a teacher expects, or pixels
#: of preprocessors that change pixels only by mean, std, order and padding
KNOWN = (BaseDataPreprocessor.forward, ImgDataPreprocessor.forward,
         DetDataPreprocessor.forward)


class Renormalization:
    """Undoes a student's normalisation and applies its teacher's.

    The constants are computed and copied to the device once.  So a step does
    nothing if both normalise in the same way, and otherwise never waits.

    Args:
        student, teacher: the data preprocessors.
        like: (N, C, H, W), an input of the student.

    Raises:
        ValueError: the teacher normalises a different number of channels than
            the images have, or divides by 0.
    """

    def __init__(self, student: BaseDataPreprocessor,
                 teacher: BaseDataPreprocessor, like: Tensor,
                 before: Normalized | None = None) -> None:
        self._made_for = _given(student, teacher, like, before)
        self._changes = self._refills = False
        if type(teacher) is BaseDataPreprocessor:
            return
        self._padding = getattr(teacher, 'pad_value', 0)
        self._refills = _paddings(student) != {self._padding}
        channels = like.size(1)
        s_mean, s_std, s_swapped = _normalization(student)
        if before is not None:
            s_mean, s_std, s_swapped = _after(
                before, s_mean, s_std, s_swapped)
        t_mean, t_std, t_swapped = _normalization(teacher)
        self._flips = s_swapped != t_swapped and channels == 3
        # the student's may be rounded to half precision
        self._changes = self._flips or not (
            torch.equal(s_mean, t_mean.to(s_mean.dtype))
            and torch.equal(s_std, t_std.to(s_std.dtype)))
        if not self._changes:
            return
        if t_mean.size(0) not in (1, channels):
            raise ConfigValueError(
                'teacher_config.model.data_preprocessor normalises '
                f"{t_mean.size(0)} channels, but the student's images have "
                f'{channels}; expected a teacher for images with '
                f'{channels}')
        if not (t_std > 0).all():
            raise ConfigValueError(
                'teacher_config.model.data_preprocessor.std='
                f'{_shown(t_std)}: expected numbers above 0')
        s_mean, s_std, t_mean, t_std = (
            x.double() for x in (s_mean, s_std, t_mean, t_std))
        if self._flips:
            s_mean, s_std = s_mean.flip(0), s_std.flip(0)
        wide = torch.promote_types(like.dtype, torch.float32)
        self._scale = (s_std / t_std).to(like.device, wide)
        self._shift = ((s_mean - t_mean) / t_std).to(like.device, wide)

    def suits(self, student: BaseDataPreprocessor,
              teacher: BaseDataPreprocessor, like: Tensor,
              before: Normalized | None = None) -> bool:
        """Whether it was made for these arguments, those of the class."""
        given = _given(student, teacher, like, before)
        return all(a is b if isinstance(a, Tensor) else a == b
                   for a, b in zip(self._made_for, given))

    def __call__(self, inputs: Tensor, samples: SampleList) -> Tensor:
        """The teacher's input; the student's own if both are the same.

        Args:
            inputs: (N, C, H, W), preprocessed for the student.
            samples: of the N images; their ``img_shape`` says where the
                padding begins.
        """
        places = [
            (i, rows, columns) for i, sample in enumerate(samples)
            for rows, columns in _around(sample.img_shape, inputs.shape[2:])
        ] if self._changes or self._refills else []
        if self._changes:
            images = inputs.flip(1) if self._flips else inputs
            out = torch.addcmul(self._shift, images, self._scale)
        elif places:
            out = inputs.clone()
        else:
            return inputs
        # padding is added after normalisation, so it is not transformed
        for i, rows, columns in places:
            out[i, :, rows, columns].fill_(self._padding)
        return out


def look_at_classes(student: BaseDataPreprocessor,
                    teacher: BaseDataPreprocessor) -> None:
    """Warn if a preprocessor may do more than its mean, std, order, padding.

    Nothing else is known about a project's own class.  If both have the same
    forward, or the teacher has none, the student's forward has done it all.
    """
    if type(teacher) is BaseDataPreprocessor or (
            type(student).forward is type(teacher).forward):
        return
    for key, one in (('', student), ('teacher_config.', teacher)):
        if type(one).forward not in KNOWN:
            print_log(
                f'{key}model.data_preprocessor is a {type(one).__name__}, '
                'which has a forward of its own. Only its mean, std, channel '
                "order and padding are used for the teacher's input. If it "
                'changes pixels in other ways, give student and teacher the '
                'same data_preprocessor', 'current',
                logging.WARNING)


def look_at_pixels(inputs: Tensor, samples: SampleList,
                   teacher: BaseDataPreprocessor) -> None:
    """Warn if a teacher's input clearly does not suit its normalisation.

    An example is pixels that a pipeline has already normalised; crosskd's
    Runner knows about these, other runners do not.  The host waits for it.

    Args:
        inputs: (N, C, H, W), the teacher's input; only the first image is
            checked.
        samples: of the N images.
        teacher: its data preprocessor.
    """
    mean, std, _ = _buffers(teacher)
    if mean is None or not (mean.any() or (std != 1).any()):
        return
    h, w = samples[0].img_shape[:2]
    mean, std = mean.to(inputs.device), std.to(inputs.device)
    pixels = inputs[0, :, :h, :w].float() * std + mean
    expected = (mean.abs() + std).mean()
    low, high, average, expected = torch.stack([
        pixels.min(), pixels.max(), pixels.mean(), expected]).tolist()
    done_before = FAR < expected and -FAR < low and high < FAR and (
        low < -0.1 or 0 < high < 1.001)  # rounded
    if done_before or average > FAR * expected:
        print_log(
            'teacher_config.model.data_preprocessor normalises with '
            f'mean={_shown(mean)}, std={_shown(std)}, '
            f'but the first image has values from {low:.3g} to {high:.3g} '
            'before that. If the training pipeline normalises or scales '
            'images, let model.data_preprocessor do it instead; else correct '
            'mean and std', 'current', logging.WARNING)


def _shown(values: Tensor) -> list[float]:
    return [float(f'{x:.3g}') for x in values.flatten().tolist()]


def _buffers(preprocessor: Any) -> tuple[Any, Any, bool]:
    swapped = getattr(preprocessor, '_channel_conversion', False)
    if getattr(preprocessor, '_enable_normalize', False):
        return preprocessor.mean, preprocessor.std, swapped
    return None, None, swapped


def _given(student: BaseDataPreprocessor, teacher: BaseDataPreprocessor,
           like: Tensor, before: Normalized | None) -> tuple:
    return (teacher, *_buffers(student), *_buffers(teacher), like.size(1),
            like.dtype, like.device, before, _paddings(student),
            _paddings(teacher))


def _paddings(preprocessor: Any) -> set[float]:
    """The padding values that may surround images in a batch."""
    augments = getattr(preprocessor, 'batch_augments', None) or ()
    return {getattr(preprocessor, 'pad_value', 0), *(
        a.img_pad_value for a in augments if hasattr(a, 'img_pad_value'))}


def _around(image: tuple, batch: tuple) -> list[tuple[slice, slice]]:
    """The padding below an image and to its right, if there is any."""
    (h, w), (height, width) = image[:2], batch
    below, right = (slice(h, None), slice(None)), (slice(h), slice(w, None))
    return [below] * (h < height) + [right] * (w < width)


def _after(before: Normalized, mean: Tensor, std: Tensor, swapped: bool
           ) -> tuple[Tensor, Tensor, bool]:
    """Combine two normalisations, one after the other, into one."""
    first, deviation = before.tensors()
    if swapped:
        first, deviation = first.flip(0), deviation.flip(0)
    return (first + deviation * mean, deviation * std,
            swapped != before.swapped)


def _normalization(preprocessor: BaseDataPreprocessor
                   ) -> tuple[Tensor, Tensor, bool]:
    """Mean and std, each (C or 1, 1, 1), and whether channels are swapped."""
    mean, std, swapped = _buffers(preprocessor)
    if mean is None:
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1), swapped
    return mean.cpu(), std.cpu(), swapped
