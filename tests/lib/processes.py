"""Commands as a user starts them: in processes of their own."""
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

PATH = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'


def run(*command, cwd, ok=True, env=None):
    """Run a command to its end; returns what it printed."""
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, text=True, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'PATH': PATH, 'OMP_NUM_THREADS': '1',
             **(env or {})})
    assert (done.returncode == 0) == ok, done.stdout[-3000:]
    return done.stdout


def python(*args, **kwargs):
    """Run this Python."""
    return run(sys.executable, *args, **kwargs)


def has_openmim():
    """Whether mim is installed."""
    try:
        importlib.metadata.version('openmim')
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
