"""ATSS: one anchor a location, deltas, centerness from the reg tower."""
from collections.abc import Mapping

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

    def predict(self, name: str, features: Mapping[str, Tensor],
                level: int) -> Tensor:
        head = self.head
        if name == 'reg':
            return head.scales[level](head.atss_reg(features['reg'])).float()
        if name == 'cls':
            return head.atss_cls(features['cls'])
        return head.atss_centerness(features['reg'])
