"""How Python was started."""
import sys
from pathlib import Path


def as_our_command(package: str) -> bool:
    """Whether Python was started as ``python -m PACKAGE``, or as its script.

    A command registers the package when it needs that, so that its help does
    not wait for torch.  Any other process wants the package registered once
    it is imported, also one that a command starts: a worker that loads data
    has the ``sys.argv`` of the command, and a command line of its own.
    """
    # the module or the script, before as many arguments as there are
    at = len(sys.orig_argv) - len(sys.argv)
    if not sys.argv or at < 0:
        return False
    started = sys.orig_argv[at]
    if sys.argv[0] == '-m':  # as long as Python looks for the module
        return started.removeprefix('-m') == package
    return started == sys.argv[0] and Path(started).name == package
