"""mmdet is silent about what its users cannot change.

What: ``mmengine.logging.print_log`` prints no message of the level DEBUG if it
is given no logger.  Python ignores two warnings: that ``faster_coco_eval`` is
not installed, and that ``num_anchors`` is deprecated.
Why: OneDL's mmdet says that it lacks optional parts whenever its data sets
(twice) and its evaluation are imported, and nothing here needs these parts.
``print_log`` without a logger prints messages of every level.  The heads of
both mmdets read their own deprecated ``num_anchors`` when they are built.
Until: mmdet (seen in 3.3.0 and OneDL's 3.5.1) does neither.
"""
import functools
import logging
import warnings
from typing import Any

import mmengine.logging

IGNORED = ('faster_coco_eval is not installed',
           'DeprecationWarning: `num_anchors` is deprecated')


def silence_notices() -> None:
    """Call it before anything imports mmdet's data sets or evaluation."""
    print_log = mmengine.logging.print_log

    @functools.wraps(print_log)
    def with_level(msg: Any, logger: Any = None,
                   level: int = logging.INFO) -> None:
        if logger is not None or level > logging.DEBUG:
            print_log(msg, logger, level)

    mmengine.logging.print_log = with_level
    for message in IGNORED:
        warnings.filterwarnings('ignore', message)
