"""RetinaNet: several anchors a location, deltas, no quality."""
from mmdet.models.dense_heads import RetinaHead
from torch import Tensor

from ..registry import HEAD_ADAPTERS
from .anchor import AnchorHeadAdapter


@HEAD_ADAPTERS.register_module()
class RetinaHeadAdapter(AnchorHeadAdapter):
    """mmdet's ``RetinaHead``, and subclasses (Lin et al., arXiv 1708.02002).

    Its ``reg`` are deltas of several anchors a location.
    """

    head_type = RetinaHead
    predictors = ('retina_cls', 'retina_reg')

    def predict(self, features: dict[str, Tensor],
                level: int) -> tuple[Tensor, ...]:
        return (self.head.retina_cls(features['cls']),
                self.head.retina_reg(features['reg']))
