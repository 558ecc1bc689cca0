"""Counting the classes of each head of any detector."""
from collections.abc import Iterator

from mmdet.models.detectors import RPN
from torch import nn

HEADS = ('bbox_head', 'mask_head', 'mask_iou_head', 'point_head')
# in these detectors, heads count something else: words, things without stuff
OTHERS = ('language_model', 'panoptic_fusion_head')


def class_counts(detector: nn.Module) -> dict[str, int]:
    """The number of classes of a detector's heads, by config keys.

    Such as ``{'bbox_head.num_classes': 80}``; for a two-stage detector, those
    of ``roi_head``.  Heads that count something else than a data set's classes
    are left out.

    Args:
        detector: an mmdet detector.
    """
    if isinstance(detector, RPN) or any(
            getattr(detector, name, None) is not None for name in OTHERS):
        return {}
    counts = {f'{key}.num_classes': getattr(head, 'num_classes', None)
              for key, head in _heads(detector)
              if not getattr(head, 'class_agnostic', False)}
    return {key: n for key, n in counts.items() if isinstance(n, int)}


def _heads(detector: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for prefix, owner in (('', detector), (
            'roi_head.', getattr(detector, 'roi_head', None))):
        for name in HEADS:
            found = getattr(owner, name, None)
            if isinstance(found, nn.ModuleList):  # as in Cascade R-CNN
                for index, head in enumerate(found):
                    yield f'{prefix}{name}[{index}]', head
            elif found is not None:
                yield f'{prefix}{name}', found
