"""ATSS: one anchor a location, deltas, centerness from the reg tower."""
from mmdet.models.dense_heads import ATSSHead
from torch import Tensor

from .anchor import AnchorHeadFamily


class ATSSHeadFamily(AnchorHeadFamily, head_type=ATSSHead):
    """mmdet's ``ATSSHead``, and subclasses (Zhang et al., arXiv 1912.02424).

    Its ``reg`` are deltas of one anchor a location, its ``quality`` is
    centerness, predicted from the regression tower.
    """

    predictors = ('atss_cls', 'atss_reg', 'atss_centerness', 'scales')
    has_quality = True
    first_target = 1
    reduces_normalizer = True

    def predict(self, cls_feat: Tensor, reg_feat: Tensor,
                level: int) -> tuple[Tensor, ...]:
        head = self.head
        reg = head.scales[level](head.atss_reg(reg_feat))
        return (head.atss_cls(cls_feat), reg.float(),
                head.atss_centerness(reg_feat))
