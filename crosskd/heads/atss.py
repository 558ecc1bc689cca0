"""ATSS: one anchor per location, deltas, centerness from the reg tower."""
from mmdet.models.dense_heads import ATSSHead
from torch import Tensor

from ..registry import HEAD_ADAPTERS
from .anchor import AnchorHeadAdapter
from .level_pass import LevelPass


@HEAD_ADAPTERS.register_module()
class ATSSHeadAdapter(AnchorHeadAdapter):
    """mmdet's ``ATSSHead``, and subclasses (Zhang et al., arXiv 1912.02424).

    ``reg`` holds the deltas of one anchor per location; ``quality`` is
    centerness, predicted from the regression tower.

    Example config: ``bbox_head=dict(type='ATSSHead')``.
    """

    head_type = ATSSHead
    outputs = ('cls', 'reg', 'quality')
    predictors = ('atss_cls', 'atss_reg', 'scales')
    quality_layer = 'atss_centerness'
    first_target = 1
    reduces_normalizer = True

    def needed_layers(self) -> tuple[str, ...]:
        return (*super().needed_layers(), self.quality_layer)

    def predict(self, name: str, level: LevelPass) -> Tensor:
        head = self.head
        if name == 'reg':
            return head.scales[level.index](
                head.atss_reg(level.branch('reg'))).float()
        if name == 'cls':
            return head.atss_cls(level.branch('cls'))
        return getattr(head, self.quality_layer)(level.branch('reg'))
