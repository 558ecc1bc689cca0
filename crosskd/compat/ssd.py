"""Predictions of mmdet's SSD head.

All heads are asked for the channels of their ``loss_cls`` when they predict,
and mmdet 3.3 (OneDL's 3.5, too) makes SSD's without one.
"""
from functools import wraps
from typing import Any

from mmdet.models.dense_heads import SSDHead


def let_ssd_predict() -> None:
    """Give SSD heads that are made from now on a ``loss_cls`` of None."""
    init = SSDHead.__init__

    @wraps(init)
    def wrapped(self: SSDHead, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if not hasattr(self, 'loss_cls'):
            self.loss_cls = None

    SSDHead.__init__ = wrapped
