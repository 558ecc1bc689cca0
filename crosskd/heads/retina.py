"""RetinaNet: several anchors per location, deltas, no quality."""
from mmdet.models.dense_heads import RetinaHead
from torch import Tensor

from ..registry import HEAD_ADAPTERS
from .anchor import AnchorHeadAdapter
from .level_pass import LevelPass


@HEAD_ADAPTERS.register_module()
class RetinaHeadAdapter(AnchorHeadAdapter):
    """mmdet's ``RetinaHead``, and subclasses (Lin et al., arXiv 1708.02002).

    ``reg`` holds the deltas of several anchors per location.

    Example config: ``bbox_head=dict(type='RetinaHead')``.
    """

    head_type = RetinaHead
    predictors = ('retina_cls', 'retina_reg')

    def predict(self, name: str, level: LevelPass) -> Tensor:
        layer = dict(cls=self.head.retina_cls, reg=self.head.retina_reg)[name]
        return layer(level.branch(name))
