"""ATSS: one anchor a location, deltas, centerness from the reg tower."""
from mmdet.models.dense_heads import ATSSHead
from torch import Tensor

from ..registry import HEAD_ADAPTERS
from .anchor import AnchorHeadAdapter


@HEAD_ADAPTERS.register_module()
class ATSSHeadAdapter(AnchorHeadAdapter):
    """mmdet's ``ATSSHead``, and subclasses (Zhang et al., arXiv 1912.02424).

    Its ``reg`` are deltas of one anchor a location, its ``quality`` is
    centerness, predicted from the regression tower.
    """

    head_type = ATSSHead
    outputs = ('cls', 'reg', 'quality')
    predictors = ('atss_cls', 'atss_reg', 'atss_centerness', 'scales')
    first_target = 1
    reduces_normalizer = True

    def predict(self, features: dict[str, Tensor],
                level: int) -> tuple[Tensor, ...]:
        head = self.head
        reg = head.scales[level](head.atss_reg(features['reg']))
        return (head.atss_cls(features['cls']), reg.float(),
                head.atss_centerness(features['reg']))
