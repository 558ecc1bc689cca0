"""Timing the parts of a step, on a CPU or a GPU."""
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

REST = 'rest'


class Timeline:
    """The parts of one step, one after another.

    A part inside another one interrupts it.  On a GPU, events of the GPU give
    the times, so that nothing waits for it before the step ends.

    Args:
        device: on which the step runs.

    Attributes:
        labels: the name of every piece of time between two marks.
        seconds: the clock of a CPU.
    """

    seconds = staticmethod(time.perf_counter)

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[Any] = []
        self.labels: list[str] = []
        self._inside = [REST]

    def mark(self) -> None:
        """Begin a piece of the part that is running."""
        if self._device.type == 'cuda':
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            self._marks.append(event)
        else:
            self._marks.append(self.seconds())
        self.labels.append(self._inside[-1])

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the block as a part of this name."""
        self._inside.append(name)
        self.mark()
        try:
            yield
        finally:
            self._inside.pop()
            self.mark()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Time a step; its :attr:`milliseconds` are known afterwards."""
        self._wait()
        begin = self.seconds()
        self.mark()
        yield
        self.mark()
        self._wait()
        self.milliseconds = (self.seconds() - begin) * 1e3

    def parts(self) -> dict[str, float]:
        """Milliseconds of every part, in the order in which they began."""
        found: dict[str, float] = {}
        for label, begin, end in zip(self.labels, self._marks,
                                     self._marks[1:]):
            if self._device.type == 'cuda':
                passed = begin.elapsed_time(end)
            else:
                passed = (end - begin) * 1e3
            found[label] = found.get(label, 0.0) + passed
        # the pieces between the others come last
        found[REST] = found.pop(REST, 0.0)
        return found

    def _wait(self) -> None:
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)
