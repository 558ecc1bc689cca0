"""Finding losses that cannot be trained with, and the images behind them."""
import math
from collections.abc import Callable, Collection, Iterator

import torch
from mmdet.structures import SampleList
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor
from torch.autograd import Variable

from ..errors import ConfigValueError
from ..numerics.constants import constant

# a config's learning rate is for a certain number of images per step
ADVICE = ('Most often the learning rate is too high '
          '(optim_wrapper.optimizer.lr): lower it, or let --auto-scale-lr '
          'adapt it to the number of images per step')

ROUNDING = 1e-3  # sums of many losses near 0 may be this far below 0

Losses = dict[str, Tensor | list[Tensor]]


def look_at_losses(losses: Losses, distilled: Collection[str],
                   tell: Callable[[list[str], list[str]], None]) -> None:
    """Report losses that cannot be trained with, before any weight changes.

    These are losses that are NaN or infinite, and distillation losses below
    zero, which have no lower bound or a wrong formula.

    Checking them at once would make the host wait for the device between
    forward and backward pass, and leave the device idle.  So the check is
    queued when the backward pass begins, and its result is read when the whole
    pass is queued: before the optimizer's step, while the device is busy.  An
    error that ``tell`` raises comes out of ``backward()``, after DDP has
    finished its part.  If nothing trains, the result is read at once.

    If one of several processes has such a loss, all of them report it, so
    that no process waits for one that has stopped.

    Args:
        losses: tensors, or lists of one tensor a level.
        distilled: names of those that are distillation losses.
        tell: gets the losses that are not finite, such as ``['loss_reg_kd of
            level 2 (nan)']``, and those below zero; both lists are empty if
            the loss is in another process.  Not called if all losses are good.
    """
    names, values, least = zip(*_each(losses, distilled), strict=True)
    with torch.no_grad():
        numbers = torch.stack([v if v.dim() == 0 else v.mean()
                               for v in values])
        if get_world_size() > 1:
            numbers = torch.cat([numbers, _somewhere(numbers, least)])

    def read(host: Tensor) -> None:
        found: tuple[list[str], list[str]] = [], []
        for name, value, low in zip(names, host.tolist(), least):
            if not (math.isfinite(value) and value >= low):
                found[math.isfinite(value)].append(f'{name} ({value})')
        # not kept: it holds the batch, and any loss that is kept somewhere
        # holds this function
        ask = waiting.pop()
        if any(found) or any(host[len(names):].tolist()):
            ask(*found)

    def begin(_: Tensor) -> None:
        if not waiting:  # a second pass through the same graph
            return
        host = numbers.to('cpu', non_blocking=True)
        arrived = None
        if numbers.is_cuda:
            arrived = torch.cuda.Event()
            arrived.record()

        def end() -> None:
            if arrived is not None:
                arrived.synchronize()
            read(host)

        # DDP also uses this to learn that a backward pass has ended; this
        # callback runs after DDP's
        queue = Variable._execution_engine.queue_callback
        queue(lambda: queue(end))

    waiting = [tell]
    learning = next((v for v in values if v.requires_grad), None)
    if learning is None:
        read(numbers)
    else:
        learning.register_hook(begin)


def _somewhere(numbers: Tensor, least: tuple[float, ...]) -> Tensor:
    """Above 0 if any process has a number that is not finite or too low."""
    sound = numbers.isfinite() & (numbers >= constant(
        least, numbers.dtype, numbers.device))
    return reduce_mean((~sound).any().to(numbers.dtype).reshape(1))


def what_is_wrong(not_finite: list[str],
                  below_zero: list[str]) -> tuple[str, str]:
    """A message about losses, and advice; arguments: see ``tell`` above."""
    if below_zero and not not_finite:
        return (
            f'distillation loss is below zero: {", ".join(below_zero)}',
            'It should be smallest, and not below 0, when student and teacher '
            'agree. A loss below 0 may push them apart, or has no lower '
            'bound. Check the formula of your loss class or distiller in '
            'kd_cfg: give it a lower bound, add a constant so that it is 0 '
            'for equal predictions, or use another loss, such as GIoULoss '
            'for boxes')
    if not not_finite:
        return ('loss is not finite, or a distillation loss is below zero, in '
                'another process',
                'The message of that process names the loss')
    return (f'loss is not finite: {", ".join(not_finite + below_zero)}',
            f'{ADVICE}. To skip a few such steps, add '
            "custom_hooks=[dict(type='SkipNonFiniteHook')]")


def check_images(inputs: Tensor, samples: SampleList) -> None:
    """Check that all values of a batch of images are finite.

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
            raise ConfigValueError(
                f'image {path!r} has values that are NaN or infinite after '
                'the pipeline and the preprocessor; expected finite pixels')


def _each(losses: Losses, distilled: Collection[str]
          ) -> Iterator[tuple[str, Tensor, float]]:
    """Names, values, and how low these may be."""
    for name, value in losses.items():
        if 'loss' not in name:  # mmengine does not sum these, either
            continue
        least = -ROUNDING if name in distilled else -math.inf
        if isinstance(value, Tensor):
            yield name, value, least
        else:
            for level, one in enumerate(value):
                yield f'{name} of level {level}', one, least
