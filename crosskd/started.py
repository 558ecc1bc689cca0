"""How Python was started."""
import sys
from pathlib import Path


def as_our_command(package: str) -> bool:
    """Whether Python was started as ``python -m PACKAGE``, or as its script.

    A command registers the package only when necessary, so that its help does
    not wait for torch.  In any other process, importing the package registers
    it.  This includes data loading workers that a command starts: they have
    the ``sys.argv`` of the command, but their own command line.
    """
    # the module or the script comes right before the arguments
    at = len(sys.orig_argv) - len(sys.argv)
    if not sys.argv or at < 0:
        return False
    started = sys.orig_argv[at]
    if sys.argv[0] == '-m':  # while Python is looking for the module
        return started.removeprefix('-m') == package
    return started == sys.argv[0] and Path(started).name == package
