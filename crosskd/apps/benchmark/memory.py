"""Measuring the peak memory of a step, in a fresh process."""
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from .setting import Setting
from .silence import silence
from .steps import Steps

STATUS = Path('/proc/self/status')
STEPS = 3  # the optimizer has its state from the second step on


def peak(setting: Setting, name: str) -> float:
    """Peak memory of training one of the detectors, in megabytes.

    On a GPU it is the memory of tensors, else that of the whole process.

    Args:
        setting: what to measure.
        name: of a step.
    """
    with ProcessPoolExecutor(1, get_context('spawn')) as pool:
        return pool.submit(_peak, setting, name).result()


def _peak(setting: Setting, name: str) -> float:
    with silence():
        steps = Steps(setting, (name, ))
        for _ in range(STEPS):
            steps.run(name)
    if steps.device.type == 'cuda':
        return torch.cuda.max_memory_allocated(steps.device) / 1e6
    return resident_peak()


def resident_peak() -> float:
    """Peak memory of this process, in megabytes."""
    # not ru_maxrss, which starts at the parent's peak
    (line, ) = [x for x in STATUS.read_text().splitlines()
                if x.startswith('VmHWM')]
    return int(line.split()[1]) * 1024 / 1e6
