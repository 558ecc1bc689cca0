"""Finding losses and images with values that are NaN or infinite."""
import math
from collections.abc import Callable, Iterator

import torch
from mmdet.structures import SampleList
from torch import Tensor
from torch.autograd import Variable

# configs are written for some number of images a step
ADVICE = ('Most often the learning rate is too high '
          '(optim_wrapper.optimizer.lr): lower it, or let --auto-scale-lr fit '
          'it to the number of images a step')

Losses = dict[str, Tensor | list[Tensor]]


def look_at_losses(losses: Losses,
                   tell: Callable[[list[str]], None]) -> None:
    """Tell which losses are NaN or infinite, before any weight changes.

    To ask at once would make the host wait for the device between forward and
    backward pass, with nothing to do for the device meanwhile.  The question
    is put when the backward pass begins, and the answer read when all of it
    has been queued: before an optimizer's step, and while the device is busy.
    An error of ``tell`` comes out of ``backward()``.  Where nothing trains,
    the answer is read at once.

    Args:
        losses: tensors, or lists of one tensor a level.
        tell: is given a list such as ``['loss_reg_kd of level 2 (nan)']``;
            not called where all are finite.
    """
    names, values = zip(*_each(losses), strict=True)
    with torch.no_grad():
        numbers = torch.stack([v if v.dim() == 0 else v.mean()
                               for v in values])

    def read(host: Tensor) -> None:
        found = [f'{name} ({value})' for name, value in
                 zip(names, host.tolist(), strict=True)
                 if not math.isfinite(value)]
        if found:
            tell(found)

    def begin(_: Tensor) -> None:
        host = numbers.to('cpu', non_blocking=True)
        arrived = None
        if numbers.is_cuda:
            arrived = torch.cuda.Event()
            arrived.record()

        def end() -> None:
            if arrived is not None:
                arrived.synchronize()
            read(host)

        # as DDP learns that a backward pass has ended
        Variable._execution_engine.queue_callback(end)

    learning = next((v for v in values if v.requires_grad), None)
    if learning is None:
        read(numbers)
    else:
        learning.register_hook(begin)


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
