"""Keeping what others print away from a table or JSON."""
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from ...compat.mmengine_logging import quiet


@contextmanager
def silence() -> Iterator[None]:
    """No log and no warnings; what is printed goes to stderr."""
    with redirect_stdout(sys.stderr), quiet(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
