"""mmdet is silent about what its users cannot change.

What: ``mmengine.logging.print_log`` does not print that OneDL is missing.
Python ignores two warnings: that ``faster_coco_eval`` is not installed, and
that ``num_anchors`` is deprecated.
Why: OneDL's mmdet says that it lacks optional parts whenever its data sets
(twice) and its evaluation are imported, and nothing here needs these parts.
It says the first at the level DEBUG, but ``print_log`` without a logger prints
messages of every level.  The heads of both mmdets read their own deprecated
``num_anchors`` when they are built.
Until: mmdet (seen in 3.3.0 and OneDL's 3.5.1) does neither.
"""
import functools
import logging
import warnings
from typing import Any

import mmengine.logging

PRINTED = 'Could not import OneDL.'
IGNORED = ('faster_coco_eval is not installed',
           'DeprecationWarning: `num_anchors` is deprecated')


def silence_notices() -> None:
    """Call it before anything imports mmdet's data sets or evaluation."""
    print_log = mmengine.logging.print_log

    @functools.wraps(print_log)
    def without_notice(msg: Any, logger: Any = None,
                       level: int = logging.INFO) -> None:
        if logger is not None or not str(msg).startswith(PRINTED):
            print_log(msg, logger, level)

    mmengine.logging.print_log = without_notice
    for message in IGNORED:
        warnings.filterwarnings('ignore', message)
