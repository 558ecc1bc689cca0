"""RetinaNet: several anchors a location, deltas, no quality."""
from mmdet.models.dense_heads import RetinaHead
from torch import Tensor

from .anchor import AnchorHeadFamily


class RetinaHeadFamily(AnchorHeadFamily, head_type=RetinaHead):
    """mmdet's ``RetinaHead``, and subclasses (Lin et al., arXiv 1708.02002).

    Its ``reg`` are deltas of several anchors a location.
    """

    predictors = ('retina_cls', 'retina_reg')

    def predict(self, cls_feat: Tensor, reg_feat: Tensor,
                level: int) -> tuple[Tensor, ...]:
        return self.head.retina_cls(cls_feat), self.head.retina_reg(reg_feat)
