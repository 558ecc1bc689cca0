"""Running processes in parallel: progress, ending, and errors."""
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ...errors import ConfigError
from .lock import note
from .log_lines import progress, reason

LOOK = 0.2  # seconds between two looks at the processes
KEPT = 200  # lines of output, for the message of a process that fails


class TrainingError(ConfigError, RuntimeError):
    """A training failed; the message contains its error message."""


class Job:
    """A process that is about to run.

    Args:
        name: its name in messages.
        command: the program and its arguments.
        root: its working directory.
        lock: an open file that it inherits, for its process id.
    """

    def __init__(self, name: str, command: Sequence[str], root: Path,
                 lock: int | None = None) -> None:
        self.name = name
        self._command, self._root, self._lock = command, root, lock
        self._tail: list[str] = []

    def start(self, env: Mapping[str, str]) -> None:
        """Start it, and a thread that prints its progress."""
        self.process = subprocess.Popen(  # noqa: S603 -- no shell, our tools
            self._command, cwd=self._root, env=env, text=True,
            errors='replace', stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[] if self._lock is None else [self._lock])
        if self._lock is not None:
            note(self._lock, self.process.pid)
        self._watcher = threading.Thread(
            target=self._show, args=(self.process.stdout, ))
        self._watcher.start()

    def check(self) -> None:
        """Wait for the end of its output.

        Raises:
            TrainingError: it failed.
        """
        self._watcher.join()
        if self.process.returncode:
            raise TrainingError(
                f'[{self.name}] {reason(self._tail, self.process.returncode)}')

    def _show(self, output: Iterable[str]) -> None:
        for line in output:
            self._tail.append(line)
            del self._tail[:-KEPT]
            message = progress(line)
            if message:
                print(f'[{self.name}] {message}', flush=True)


def run(jobs: Sequence[Job], threads: int | None = None) -> None:
    """Run processes in parallel; if one fails, the others are ended.

    Args:
        jobs: the processes.
        threads: CPU threads of each; by default, torch decides.

    Raises:
        TrainingError: a process ended with an error.
    """
    env = {**os.environ, 'PYTHONUNBUFFERED': '1', 'PYTHON': sys.executable}
    if threads is not None:
        env['OMP_NUM_THREADS'] = str(threads)
    started: list[Job] = []
    with _asked_to_end() as asked:
        try:
            for job in jobs:
                job.start(env)
                started.append(job)
            failed = _first_that_fails(jobs, asked)
        finally:
            for job in started:
                if job.process.poll() is None:
                    job.process.terminate()
            for job in started:
                job.process.wait()
    # the others were ended because of it
    for job in jobs if failed is None else [failed]:
        job.check()


def _first_that_fails(jobs: Sequence[Job], asked: list[int]) -> Job | None:
    """Wait until all processes have ended or one has failed."""
    while not asked:
        codes = [job.process.poll() for job in jobs]
        for job, code in zip(jobs, codes):
            if code:
                return job
        if None not in codes:
            return None
        time.sleep(LOOK)
    print('Terminated. Run the same command again to continue.',
          file=sys.stderr, flush=True)
    sys.exit(128 + asked[0])


@contextmanager
def _asked_to_end() -> Iterator[list[int]]:
    """Note SIGTERM, so that ending a command also ends its processes.

    No exception is raised: one between the start of a process and the next
    line would leave that process running.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread handles signals
        return

    def note_it(number: int, _: FrameType | None) -> None:
        asked.append(number)

    before = signal.signal(signal.SIGTERM, note_it)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
