"""The demo's trainings: subprocesses that continue where they were.

Every training is one call of ``tools/train.py`` as a user would type it.
Nothing but files says what is done: a finished training has its last
checkpoint.
"""
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

import crosskd

from ..compare import logs

MIM = Path(crosskd.__file__).parent / '.mim'
TRAINING = re.compile(r'Epoch\(train\) +\[(\d+)\]\[ *(\d+)/(\d+)\].*'
                      r'eta: (.*?)  .* loss: ([\d.]+)')
AP = re.compile(r'bbox_mAP_copypaste: (-?[\d.]+)')


@dataclass
class Run:
    """One detector of the demo.

    Attributes:
        name: what the demo calls it.
        config: path below ``configs/``.
        root: folder with ``data/``.
        results: folder below it for this seed's results.
        changes: ``--cfg-options`` of the training.
    """
    name: str
    config: str
    root: Path
    results: Path
    changes: dict[str, object]

    @property
    def config_file(self) -> Path:
        return MIM / 'configs' / self.config

    @property
    def work_dir(self) -> Path:
        return self.results / Path(self.config).stem

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of the last epoch, there or not."""
        return self.work_dir / f'epoch_{self.epochs}.pth'

    @property
    def epochs(self) -> int:
        return self.cfg.train_cfg.max_epochs

    @property
    def cfg(self) -> Config:
        """The config as the tools see it."""
        cfg = Config.fromfile(self.config_file)
        cfg.merge_from_dict(self.changes)
        return cfg

    @property
    def options(self) -> list[str]:
        """The changes as a tool takes them."""
        pairs = (f'{k}={v}' for k, v in self.changes.items())
        return ['--cfg-options', *pairs]


def train(runs: Sequence[Run], threads: int) -> None:
    """Train detectors side by side, each with this many threads.

    Raises:
        RuntimeError: a training ended with an error.
    """
    commands = {
        run.name: [
            'train.py',
            str(run.config_file), '--work-dir',
            str(run.work_dir), '--resume', *run.options
        ]
        for run in runs if not run.checkpoint.is_file()
    }
    for run in runs:
        if run.checkpoint.is_file():
            print(f'[{run.name}] is trained already', flush=True)
        elif (run.work_dir / 'last_checkpoint').is_file():
            latest = find_latest_checkpoint(str(run.work_dir))
            print(f'[{run.name}] continues from {latest}', flush=True)
    _run_tools(commands, runs[0].root, threads)


def history(run: Run) -> list[dict]:
    """What the training logged, in order; a repeated step counts once."""
    return logs.history(run.work_dir)


def ap_curve(run: Run) -> list[tuple[int, float]]:
    """(epoch, AP) of every validation during training."""
    return logs.ap_curve(history(run))


def training_seconds(run: Run) -> float:
    """Time spent in training iterations, over all sessions."""
    steps = sorted((e['step'], e['time']) for e in history(run) if 'lr' in e)
    seconds, before = 0.0, 0
    for step, per_iteration in steps:
        seconds += (step - before) * per_iteration
        before = step
    return seconds


def _run_tools(commands: dict[str, list[str]], cwd: Path,
               threads: int) -> None:
    """Run mmdet tools side by side and show their progress."""
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads),
           'PYTHONUNBUFFERED': '1'}
    processes = {
        name: subprocess.Popen(  # noqa: S603  -- no shell, our own tools
            [sys.executable, str(MIM / 'tools' / command[0]), *command[1:]],
            cwd=cwd, env=env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        for name, command in commands.items()
    }
    tails: dict[str, list[str]] = {name: [] for name in processes}
    watchers = [
        threading.Thread(
            target=_show, args=(name, process.stdout, tails[name]))
        for name, process in processes.items()
    ]
    try:
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            watcher.join()
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.terminate()
            process.wait()
    for name, process in processes.items():
        if process.returncode:
            raise RuntimeError(
                f'[{name}] ended with exit code {process.returncode}:\n' +
                ''.join(tails[name]))


def _show(name: str, output: Iterable[str], tail: list[str]) -> None:
    """Print how far a process is; keep its last lines for an error."""
    for line in output:
        tail.append(line)
        del tail[:-20]
        message = progress(line)
        if message:
            print(f'[{name}] {message}', flush=True)


def progress(line: str) -> str | None:
    """What a line of a tool's log says about how far it is, if anything."""
    step = TRAINING.search(line)
    if step:
        epoch, done, of, left, loss = step.groups()
        return (f'epoch {epoch}, {done} of {of} steps, loss {float(loss):.2f}'
                f', {left} left')
    found = AP.search(line)
    if found:
        ap = float(found[1])
        return f'AP {100 * ap:.1f}' if ap >= 0 else 'nothing detected yet'
    return None
