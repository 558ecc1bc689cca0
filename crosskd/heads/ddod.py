"""DDOD: ATSS's layers, with an assignment of its own for each branch."""
from collections.abc import Mapping

from mmdet.models.dense_heads import DDODHead
from torch import Tensor

from ..registry import HEAD_ADAPTERS
from .anchor import AnchorHeadAdapter
from .layout import HeadRecord, Targets


@HEAD_ADAPTERS.register_module()
class DDODHeadAdapter(AnchorHeadAdapter):
    """mmdet's ``DDODHead``, and subclasses (Chen et al., arXiv 2107.02963).

    Its ``reg`` are deltas of one anchor a location, its ``quality`` the IoU of
    a box, predicted from the regression tower.
    """

    head_type = DDODHead
    outputs = ('cls', 'reg', 'quality')
    predictors = ('atss_cls', 'atss_reg', 'atss_iou', 'scales')
    target_methods = ('get_cls_targets', 'get_reg_targets')
    first_target = 1
    reduces_normalizer = True

    def predict(self, name: str, features: Mapping[str, Tensor],
                level: int) -> Tensor:
        head = self.head
        if name == 'reg':
            return head.scales[level](head.atss_reg(features['reg'])).float()
        if name == 'cls':
            return head.atss_cls(features['cls'])
        return head.atss_iou(features['reg'])

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        cls, reg = (self.read(seen.returned[method][-1])
                    for method in self.target_methods)
        both = dict(cls=cls, reg=reg, quality=reg)
        return Targets({term: found[0] for term, found in both.items()},
                       {term: found[1] for term, found in both.items()},
                       {term: found[2] for term, found in both.items()})
