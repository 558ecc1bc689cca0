"""mmengine's loggers say less.

What: for a block, ``logging.disable``, and mmengine's current logger forgets
which levels it took for enabled.  On the terminal, a filter drops the messages
that every run of mmengine begins with; the log file keeps them.
Why: what is tried before it is done would be logged twice.  mmengine's
loggers are unknown to Python's manager of loggers, so ``logging.disable`` does
not clear what they remember.  Environment, config and hooks are some 400 lines
on a terminal, above what a user has to read.
Until: Python's manager knows mmengine's loggers, and mmengine has levels of
its own for terminal and file; neither 0.10.7 nor OneDL's 0.10.12 does.
"""
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger

# how the messages begin that the log file alone gets
FOR_THE_FILE = (
    'System environment:', 'Config:\n',
    'Hooks will be executed in the following order',
    'Distributed training is not used, all SyncBatchNorm',
    'mmcv has no compiled ops',  # of mmcv_ext.py
    # of mmengine's own hooks
    '"FileClient" will be deprecated', '"HardDiskBackend" is the alias')


class _WithoutOverviews(logging.Filter):
    """Drops what the log file alone gets."""

    def filter(self, record: logging.LogRecord) -> bool:
        # without its arguments: those that do not fit it are an error here,
        # and none in a handler
        said = str(record.msg).lstrip('\n-')
        return not said.startswith(FOR_THE_FILE)


def keep_overviews_off_terminal(logger: logging.Logger) -> None:
    """Let a logger's file alone have environment, config and hooks."""
    for handler in logger.handlers:
        # not the handlers that somebody else gave it
        if getattr(handler, 'stream', None) in (sys.stdout, sys.stderr) and (
                not any(isinstance(f, _WithoutOverviews)
                        for f in handler.filters)):
            handler.addFilter(_WithoutOverviews())


@contextmanager
def quiet(level: int = logging.WARNING) -> Iterator[None]:
    """Log nothing up to a level, where something is tried before it is done.

    Args:
        level: by default errors are logged, and warnings are not.
    """
    before = logging.root.manager.disable
    _disable(level)
    try:
        yield
    finally:
        _disable(before)


def _disable(level: int) -> None:
    logging.disable(level)
    logger = MMLogger.get_current_instance()
    logger.setLevel(logger.level)
