"""Finding losses and images with values that are NaN or infinite."""
from collections.abc import Iterator

import torch
from mmdet.structures import SampleList
from torch import Tensor

# configs are written for some number of images a step
ADVICE = ('Most often the learning rate is too high '
          '(optim_wrapper.optimizer.lr): lower it, or let --auto-scale-lr fit '
          'it to the number of images a step')

Losses = dict[str, Tensor | list[Tensor]]


def find_nonfinite(losses: Losses) -> list[str]:
    """Which losses are NaN or infinite, with one transfer from the device.

    Args:
        losses: tensors, or lists of one tensor a level.

    Returns:
        list: such as ``'loss_reg_kd of level 2 (nan)'``; empty if all are
        finite.
    """
    names, values = zip(*_each(losses), strict=True)
    finite = torch.stack([v.detach().isfinite().all() for v in values])
    if finite.all():
        return []
    return [
        f'{name} ({value.detach().float().sum().item()})'
        for name, value, ok in zip(names, values, finite, strict=True)
        if not ok
    ]


def check_images(inputs: Tensor, samples: SampleList) -> None:
    """Check that the images of a batch are finite.

    Args:
        inputs: (N, C, H, W).
        samples: of the N images, with ``img_path``.

    Raises:
        ValueError: an image has a NaN or infinite value; the message names
            the first.
    """
    for image, sample in zip(inputs, samples, strict=True):
        if not image.isfinite().all():
            path = sample.get('img_path', sample.get('img_id'))
            raise ValueError(
                f'image {path!r} has values that are NaN or infinite after '
                'the pipeline and the preprocessor; expected finite pixels')


def _each(losses: Losses) -> Iterator[tuple[str, Tensor]]:
    for name, value in losses.items():
        if 'loss' not in name:  # mmengine sums the others no more than we do
            continue
        if isinstance(value, Tensor):
            yield name, value
        else:
            for level, one in enumerate(value):
                yield f'{name} of level {level}', one
