"""Running the loss of a head during training, without any trace."""
import copy
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MessageHub

from .mixin import DistillationMixin


@contextmanager
def copied_head(model: DistillationMixin) -> Iterator[None]:
    """Let a copy of the head compute its loss, as in the first epoch.

    Some heads return more in training mode, ask mmengine for the epoch, or
    count batches.  The layers of the copy are not in training mode.
    """
    head = model.bbox_head
    try:
        model.bbox_head = copy.deepcopy(head)
    except Exception:  # it holds something that cannot be copied
        model.bbox_head = head
    told = MessageHub.get_current_instance().runtime_info
    is_told = 'epoch' in told
    told.setdefault('epoch', 0)
    training, model.bbox_head.training = model.bbox_head.training, True
    try:
        yield
    finally:
        model.bbox_head.training = training
        model.bbox_head = head
        if not is_told:
            told.pop('epoch')
