"""Keeping other output out of a table or JSON."""
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from ...compat.mmengine_logging import quiet


@contextmanager
def silence() -> Iterator[None]:
    """Suppress logs and warnings, and send printed output to stderr."""
    with redirect_stdout(sys.stderr), quiet(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
