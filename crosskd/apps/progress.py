"""Showing the progress of long steps."""
import sys
import time

# seconds; shorter steps show no progress
QUIET = 1.0
# seconds between lines in a file, where every line stays
SELDOM = 30.0


def say_step(number: int, total: int, what: str) -> None:
    """Print a heading for the next step of a command."""
    print(f'\n== Step {number} of {total}: {what}', flush=True)


class Progress:
    """Shows on stderr how much of a step is done.

    On a terminal, one line is updated; a file gets a new line now and then.
    Steps that take less than a second print nothing.

    Args:
        what: the step, such as ``'evaluating work_dirs/gfl'``.
        total: the number of ``unit``.
        unit: what is counted, a plural noun.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._lives = sys.stderr.isatty()
        self._began = time.monotonic()
        self._said = self._began
        self._has_spoken = False

    def at(self, done: int) -> None:
        """Show that ``done`` of the units are done."""
        now = time.monotonic()
        every = QUIET / 5 if self._lives else SELDOM
        if now - self._began < QUIET or (
                now - self._said < every and (
                    done < self._total or not self._has_spoken)):
            return
        left = (now - self._began) / max(done, 1) * (self._total - done)
        text = (f'{self._what}: {done} of {self._total} {self._unit}, '
                f'{int(left) // 60}:{int(left) % 60:02d} left')
        end = '\n' if done >= self._total or not self._lives else ''
        print(f'\r\x1b[2K{text}' if self._lives else text, end=end,
              file=sys.stderr, flush=True)
        self._said, self._has_spoken = now, True
