"""DDOD: ATSS's layers, with a separate label assigner for each branch."""
from mmdet.models.dense_heads import DDODHead

from ..registry import HEAD_ADAPTERS
from .atss import ATSSHeadAdapter
from .records import HeadRecord, Targets


@HEAD_ADAPTERS.register_module()
class DDODHeadAdapter(ATSSHeadAdapter):
    """mmdet's ``DDODHead``, and subclasses (Chen et al., arXiv 2107.02963).

    ``reg`` holds the deltas of one anchor per location; ``quality`` is the
    IoU of the box, predicted from the regression tower.

    Example config: ``bbox_head=dict(type='DDODHead')``.
    """

    head_type = DDODHead
    quality_layer = 'atss_iou'
    target_methods = ('get_cls_targets', 'get_reg_targets')

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        cls, reg = (self.read(seen.returned[method][-1])
                    for method in self.target_methods)
        both = dict(cls=cls, reg=reg, quality=reg)
        return Targets({term: found[0] for term, found in both.items()},
                       {term: found[1] for term, found in both.items()},
                       {term: found[2] for term, found in both.items()})
