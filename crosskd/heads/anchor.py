"""What the families of anchor-based heads share."""
from functools import cached_property

from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor

from ..numerics.ranks import mean_over_ranks
from .base import HeadAdapter
from .priors import log_size
from .records import HeadRecord, Targets


class AnchorHeadAdapter(HeadAdapter):
    """Base class for heads with anchors; anchor sizes say a level's box sizes.

    It reads the targets of heads whose ``get_targets`` returns labels, weights
    and an avg_factor, such as RetinaNet, GFL and ATSS.
    """

    #: where ``labels, label_weights`` start in what ``get_targets`` returns
    first_target = 0
    #: whether the head averages its normaliser over processes
    reduces_normalizer = False

    @cached_property
    def log_sizes(self) -> tuple[float, ...]:
        return sizes_of_anchors(self.head.prior_generator)

    @property
    def boxes_have_area(self) -> bool:  # type: ignore[override]
        # only this coder: it multiplies anchors' sides by a clamped power
        return type(self.head.bbox_coder) is DeltaXYWHBBoxCoder

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        return Targets.of_all_terms(
            self.outputs, *self.read(seen.returned['get_targets'][-1]))

    def read(self, result: tuple
             ) -> tuple[list[Tensor], list[Tensor], float | Tensor]:
        """Labels, weights and normaliser in what ``get_targets`` returned."""
        labels, weights = result[self.first_target:self.first_target + 2]
        normalizer = result[self.first_target + 4]
        if self.reduces_normalizer:
            normalizer = mean_over_ranks(normalizer, labels[0].device)
        return labels, weights, normalizer


def sizes_of_anchors(generator: AnchorGenerator) -> tuple[float, ...]:
    """Binary logarithm of the size of each level's middle anchor."""
    return tuple(float(log_size(b).mean()) for b in generator.base_anchors)
