"""What losses compare."""
from mmdet.models.losses import CrossEntropyLoss, L1Loss, SmoothL1Loss
from mmdet.models.losses.iou_loss import (
    CIoULoss,
    DIoULoss,
    EIoULoss,
    GIoULoss,
    IoULoss,
    SIoULoss,
)
from torch import nn

#: the forms, and what a loss gets in each
FORMS = dict(
    logits='(n, C) class logits',
    boxes='(n, 4) boxes, xyxy in pixels',
    encoded='(n, 4) deltas or distances, before they are decoded',
    bins='(n, bins) logits of a distribution',
    scores='(n, ) logits, and scores between 0 and 1 as targets',
    features='(N, C, H, W) feature maps',
    regions='(B, K, H, W) logit maps')

# Our losses say it themselves.  mmdet's bounded IoU has no weight per box.
MMDETS_FORMS: dict[type[nn.Module], str] = {
    IoULoss: 'boxes', GIoULoss: 'boxes', DIoULoss: 'boxes', EIoULoss: 'boxes',
    L1Loss: 'encoded', SmoothL1Loss: 'encoded', CrossEntropyLoss: 'scores'}

#: mmdet's box losses that are refused, and why
REFUSED: dict[type[nn.Module], str] = {
    CIoULoss: 'is NaN for two equal boxes',
    SIoULoss: 'is 0 for boxes that are far apart, unless neg_gamma is set, '
              'and NaN for boxes without width'}


def compared_forms(loss: nn.Module) -> tuple[str, ...]:
    """What a loss compares: keys of ``FORMS``.

    A loss says it in an attribute ``compares``, such as ``compares =
    ('logits', )``; for mmdet's own losses it is known.  A loss is called as
    ``loss(pred, target, reduction_override='none')`` on all priors at once,
    and returns a loss for each row.  A loss of ``'features'`` is called as
    ``loss(pred, target)`` on one level at a time, and returns a scalar.

    Returns:
        tuple: empty if the loss does not say.
    """
    said = getattr(loss, 'compares', None)
    if said is not None:
        return (said, ) if isinstance(said, str) else tuple(said)
    return next(((MMDETS_FORMS[kind], ) for kind in type(loss).__mro__
                 if kind in MMDETS_FORMS), ())
