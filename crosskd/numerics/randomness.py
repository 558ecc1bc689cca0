"""Drawing random numbers without changing those of a training run."""
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Restore all random number generators when the block ends."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = (
        range(torch.cuda.device_count())
        if torch.cuda.is_initialized() else ())
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
