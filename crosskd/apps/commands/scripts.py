"""The commands that are shell scripts in ``tools/``."""
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import crosskd

TOOLS = Path(crosskd.__file__).parent / '.mim' / 'tools'


def run_script(script: str, argv: Sequence[str], prog: str) -> NoReturn:
    """Replace this process by a script, with its exit code and signals.

    Args:
        script: file name, such as ``'dist_train.sh'``.
        argv: its arguments.
        prog: how it was called, for its usage line.
    """
    env = dict(os.environ, CROSSKD_COMMAND=prog, PYTHON=sys.executable)
    sys.stdout.flush()
    # no shell parses them: the arguments are passed on one by one
    os.execvpe('bash', ['bash', str(TOOLS / script), *argv],  # noqa: S606,S607
               env)


run_dist_train, run_dist_test, run_slurm_train, run_slurm_test = (
    partial(run_script, f'{name}.sh')
    for name in ('dist_train', 'dist_test', 'slurm_train', 'slurm_test'))
