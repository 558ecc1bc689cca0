"""Map regions: whole levels of an image, one for each anchor shape."""
import math

from mmdet.structures import SampleList

from ..losses.logit_maps import LogitMaps
from ..pairs import DensePass
from ..registry import REGIONS


@REGIONS.register_module(name='map')
def map_regions(paired: DensePass, prediction: str) -> list[LogitMaps]:
    """Whole logit maps, except what lies in the padding of their image.

    Example config: ``sdd_regions=dict(map=dict(scales=(1, 2, 4, 8, 16)))``.

    Args:
        paired: the outputs of both detectors for a batch; the ``img_shape``
            of its samples says where the padding begins.
        prediction: whose logits learn.

    Returns:
        list[LogitMaps]: per level N * A maps.
    """
    regions = []
    head = paired.teacher
    anchors = head.num_priors
    images = image_sizes(paired.samples)
    for level, (ours, theirs) in zip(paired.teacher_levels,
                                     paired.class_maps(prediction)):
        stride_x, stride_y = head.strides[level]
        n, channels, h, w = theirs.shape
        shape = (n * anchors, channels // anchors, h, w)
        regions.append(
            LogitMaps(
                ours.reshape(shape),
                theirs.reshape(shape),
                extents=[(locations_inside(h, height, stride_y, head.offset),
                          locations_inside(w, width, stride_x, head.offset))
                         for height, width in images]))
    return regions


def image_sizes(samples: SampleList) -> tuple[tuple[int, int], ...]:
    """Height and width of each image, without padding.

    Always tuples, whatever the pipeline wrote: sizes are cache keys.
    """
    return tuple((int(h), int(w)) for h, w in (
        sample.img_shape[:2] for sample in samples))


def locations_inside(count: int, extent: int, stride: int,
                     offset: float) -> int:
    """How many of ``count`` locations have their centre in the image."""
    return min(max(math.ceil(extent / stride - offset), 0), count)
