"""Measuring the speed and the size of a detector."""
import time
import warnings
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.device import get_device
from mmengine.runner import Runner
from mmengine.runner.amp import autocast

from ...errors import describe

WARM_UP = 3  # images that are not measured, because they are slower
MOST = 30
LONGEST = 20.0  # seconds


def measure(runner: Runner) -> dict[str, Any]:
    """Measure the detector of a Runner that has run its test.

    Returns:
        dict: ``inference`` with the median ``seconds`` for one image, the
        number of ``images`` measured and the ``device``; ``flops`` with the
        ``count`` (None if it could not be counted, with the ``reason``), the
        operations ``not_counted``, and height and width of the image as
        ``size``.
    """
    runner.model.eval()
    with torch.no_grad():
        return dict(inference=_inference(runner), flops=_flops(runner))


def _batches(runner: Runner) -> Iterator[Any]:
    """Each test image as a batch of its own."""
    loader = runner.test_dataloader
    for index in range(len(loader.dataset)):
        yield loader.collate_fn([loader.dataset[index]])


def _inference(runner: Runner) -> dict[str, Any]:
    device = next((p.device for p in runner.model.parameters()),
                  torch.device(get_device()))
    times: list[float] = []
    stop = time.monotonic() + LONGEST
    for batch in _batches(runner):
        _wait(device)
        began = time.perf_counter()
        with autocast(enabled=getattr(runner.test_loop, 'fp16', False)):
            runner.model.test_step(batch)
        _wait(device)
        times.append(time.perf_counter() - began)
        if len(times) == WARM_UP + MOST or time.monotonic() > stop:
            break
    times = times[WARM_UP:] or times
    return dict(seconds=float(f'{median(times):.3g}'), images=len(times),
                device=_name(device))


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    if device.type == 'cpu':
        count = torch.get_num_threads()
        return f'CPU, {count} thread{"s" * (count > 1)}'
    return device.type


def _flops(runner: Runner) -> dict[str, Any]:
    """FLOPs as mmengine counts them, for the first test image."""
    model = runner.model
    forward = model.forward
    size: list[int] | None = None
    try:
        data = model.data_preprocessor(next(_batches(runner)))
        size = list(data['inputs'].shape[-2:])
        # as mmdet's tool does: tracing only passes tensors
        model.forward = partial(forward, data_samples=data['data_samples'])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about values fixed by tracing
            analyzer = FlopAnalyzer(model, (data['inputs'], ))
            analyzer.unsupported_ops_warnings(False)
            analyzer.uncalled_modules_warnings(False)
            analyzer.tracer_warnings('none')
            count = int(analyzer.total())
            unknown = sorted(analyzer.unsupported_ops())
    except Exception as e:  # some detectors cannot be traced
        return dict(count=None, reason=describe(e), not_counted=[], size=size)
    finally:
        model.forward = forward
    return dict(count=count, reason=None, not_counted=unknown, size=size)
