"""GFL: one anchor a location, box sides as distributions over bins."""
from mmdet.models.dense_heads import GFLHead
from torch import Tensor

from .anchor import AnchorHeadFamily


class GFLHeadFamily(AnchorHeadFamily, head_type=GFLHead):
    """mmdet's ``GFLHead``, and subclasses (Li et al., arXiv 2006.04388).

    Its ``reg`` are logits of the bins of four distributions, of the distances
    to the four sides in units of the stride.
    """

    predictors = ('gfl_cls', 'gfl_reg', 'scales', 'integral')
    first_target = 1
    reduces_normalizer = True

    @property
    def num_bins(self) -> int:
        return self.head.reg_max + 1

    def predict(self, cls_feat: Tensor, reg_feat: Tensor,
                level: int) -> tuple[Tensor, ...]:
        reg = self.head.scales[level](self.head.gfl_reg(reg_feat))
        return self.head.gfl_cls(cls_feat), reg.float()

    def encoded(self, reg: Tensor, level: int) -> Tensor:
        return self.head.integral(reg).reshape(*reg.shape[:-1], 4)

    def boxes(self, reg: Tensor, priors: Tensor, level: int) -> Tensor:
        distances = self.encoded(reg, level) * self.strides[level][0]
        return super().boxes(distances, self.head.anchor_center(priors), level)
