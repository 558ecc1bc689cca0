"""RetinaNet: several anchors a location, deltas, no quality."""
from mmdet.models.dense_heads import RetinaHead

from .anchor import AnchorHeadFamily


class RetinaHeadFamily(AnchorHeadFamily, head_type=RetinaHead):
    """Lin et al., arXiv 1708.02002."""

    predictors = ('retina_cls', 'retina_reg')

    def predict(self, cls_feat, reg_feat, level):
        return self.head.retina_cls(cls_feat), self.head.retina_reg(reg_feat)
