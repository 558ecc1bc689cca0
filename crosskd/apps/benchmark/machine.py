"""Describing the machine of a measurement."""
import os
import platform
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from ...version import __version__

CPU_INFO = Path('/proc/cpuinfo')


def machine(device: torch.device) -> dict[str, str | int | bool]:
    """The machine and the versions, by name."""
    found: dict[str, str | int | bool] = dict(
        processor=_processor(), cores=len(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(), python=platform.python_version(),
        torch=torch.__version__, crosskd=__version__)
    if device.type == 'cuda':
        found.update(
            gpu=torch.cuda.get_device_name(device),
            cuda=str(torch.version.cuda),
            tf32_matmul=torch.backends.cuda.matmul.allow_tf32,
            tf32_convolution=torch.backends.cudnn.allow_tf32)
    return found


def _processor() -> str:
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def data_type(module: nn.Module) -> str:
    """The type that most of a module's parameters have: ``'float32'``."""
    counts: Counter[torch.dtype] = Counter()
    for parameter in module.parameters():
        counts[parameter.dtype] += parameter.numel()
    return str(counts.most_common(1)[0][0]).removeprefix('torch.')
