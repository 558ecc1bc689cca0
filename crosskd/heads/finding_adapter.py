"""Finding the adapter of a head."""
from mmengine.model import BaseModule
from torch import nn

from ..errors import ConfigTypeError
from ..registry import HEAD_ADAPTERS
from ..taps import HEAD_INPUT, Tap
from .base import HeadAdapter


def adapter_of(head: BaseModule, teaches: bool = False) -> HeadAdapter:
    """Wrap a head in the adapter of its family.

    A project's subclass of a known head belongs to that head's family.
    mmdet's own other subclasses (LD, FreeAnchor, …) assign targets or compute
    losses differently.  They can be teachers, if they inherit the forward of
    the known head, but not students.

    Args:
        head: the mmdet head.
        teaches: whether it is a teacher's head; only its forward is used then.

    Raises:
        TypeError: no adapter is registered for the head.
    """
    known = {kind.head_type: kind
             for kind in HEAD_ADAPTERS.module_dict.values()}
    for base in type(head).__mro__:
        if base in known:
            return known[base](head)
        if base.__module__.startswith('mmdet.') and not (
                teaches and _inherits_forward(base)):
            break
    names = ', '.join(sorted(kind.__name__ for kind in known))
    raise ConfigTypeError(
        f'bbox_head: {type(head).__name__} cannot be distilled; '
        f'expected one of {names}, or a subclass')


def _inherits_forward(head: type) -> bool:
    """Whether a head class inherits its forward unchanged."""
    return not {'forward', 'forward_single'} & set(vars(head))


def dense_head(detector: nn.Module, teaches: bool = False) -> HeadAdapter:
    """The dense head of a detector, in its adapter.

    Args:
        detector: an mmdet detector.
        teaches: whether it is the teacher.

    Raises:
        TypeError: it has no dense head, or one of an unknown family.
    """
    head = getattr(detector, HEAD_INPUT.module, None)
    if head is None:
        raise ConfigTypeError(
            f'bbox_head: {type(detector).__name__} has no head whose '
            'predictions can be distilled; distil its features instead '
            '(kd_cfg.loss_feat_kd)')
    return adapter_of(head, teaches)


def default_tap(detector: nn.Module, teaches: bool = False) -> Tap:
    """Where a detector's features are taken, unless a config says where.

    The input of a dense head that has an adapter, else the output of the neck,
    else that of the backbone.

    Args:
        detector: an mmdet detector.
        teaches: whether it is the teacher.
    """
    try:
        dense_head(detector, teaches)
        return HEAD_INPUT
    except ConfigTypeError:
        has_neck = getattr(detector, 'neck', None) is not None
        return Tap('neck' if has_neck else 'backbone')
