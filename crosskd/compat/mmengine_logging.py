"""mmengine's loggers are quiet for a while.

What: for a block, ``logging.disable``, and mmengine's current logger forgets
which levels it took for enabled.
Why: what is tried before it is done would be logged twice.  mmengine's
loggers are unknown to Python's manager of loggers, so ``logging.disable`` does
not clear what they remember.
Until: Python's manager knows mmengine's loggers; it knows neither those of
0.10.7 nor those of OneDL's 0.10.12.
"""
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger


@contextmanager
def quiet() -> Iterator[None]:
    """Log errors alone, where something is tried before it is done."""
    level = logging.root.manager.disable
    _disable(logging.WARNING)
    try:
        yield
    finally:
        _disable(level)


def _disable(level: int) -> None:
    logging.disable(level)
    logger = MMLogger.get_current_instance()
    logger.setLevel(logger.level)
