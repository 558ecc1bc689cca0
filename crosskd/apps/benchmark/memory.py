"""The most memory that a step takes, each in a fresh process."""
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from .setting import Setting
from .silence import silence
from .steps import Steps

STATUS = Path('/proc/self/status')
STEPS = 3  # the optimizer's state is there from the second on


def peak(setting: Setting, name: str) -> float:
    """Megabytes that training one of the detectors takes at most.

    On a GPU those of its tensors, else of the whole process.

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
    """Megabytes of memory that this process has had at most."""
    # not ru_maxrss, which begins with that of the parent
    (line, ) = [x for x in STATUS.read_text().splitlines()
                if x.startswith('VmHWM')]
    return int(line.split()[1]) * 1024 / 1e6
