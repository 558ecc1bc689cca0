"""Saying how far a long step is."""
import sys
import time

# a step that takes less is not spoken of
QUIET = 1.0
# where lines stay, as in a file, they come this seldom
SELDOM = 30.0


def say_step(number: int, total: int, what: str) -> None:
    """Print a heading: which step of a command begins."""
    print(f'\n== Step {number} of {total}: {what}', flush=True)


class Progress:
    """How many of some things are done, on stderr.

    A terminal has one line that changes; a file gets a line now and then.
    Steps that take less than a second say nothing.

    Args:
        what: is done, such as ``'evaluates work_dirs/gfl'``.
        total: how many of ``unit`` there are.
        unit: plural noun.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._lives = sys.stderr.isatty()
        self._began = time.monotonic()
        self._said = self._began
        self._has_spoken = False

    def at(self, done: int) -> None:
        """Note that ``done`` things are done."""
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
