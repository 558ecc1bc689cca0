"""mmdet's SSD predicts.

What: every new ``SSDHead`` has an attribute ``loss_cls``, which is None.
Why: mmdet's prediction reads ``loss_cls`` of a head, and mmdet's SSD head has
none.
Until: mmdet's SSD head has one; neither 3.3.0 nor OneDL's 3.5.1 does.
"""
from functools import wraps
from typing import Any

from mmdet.models.dense_heads import SSDHead


def let_ssd_predict() -> None:
    """Give every new SSD head a ``loss_cls`` of None."""
    init = SSDHead.__init__

    @wraps(init)
    def wrapped(self: SSDHead, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if not hasattr(self, 'loss_cls'):
            self.loss_cls = None

    SSDHead.__init__ = wrapped
