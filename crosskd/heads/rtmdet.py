"""RTMDet: points, distances, layers with separate norms for each level."""
from mmdet.models.dense_heads.rtmdet_head import RTMDetSepBNHead
from mmdet.models.layers.transformer import inverse_sigmoid
from mmdet.models.utils import sigmoid_geometric_mean
from torch import Tensor

from ..numerics.ranks import mean_of_sums
from ..registry import HEAD_ADAPTERS
from .base import HeadAdapter
from .level_pass import LevelPass
from .records import HeadRecord, Targets


@HEAD_ADAPTERS.register_module()
class RTMDetHeadAdapter(HeadAdapter):
    """mmdet's ``RTMDetSepBNHead`` (Lyu et al., arXiv 2212.07784).

    ``reg`` holds the distances from a point to the four sides, in pixels.
    With ``with_objectness``, ``cls`` is made from both branches.

    Example config: ``bbox_head=dict(type='RTMDetSepBNHead')``.
    """

    head_type = RTMDetSepBNHead
    layers_by_level = True
    predicts_distances = True
    predictors = ('rtm_cls', 'rtm_reg')

    def branches_of(self, output: str) -> tuple[str, ...]:
        if output == 'cls' and self.head.with_objectness:
            return self.branches
        return super().branches_of(output)

    @property
    def boxes_have_area(self) -> bool:  # type: ignore[override]
        return self.head.exp_on_reg  # else distances may be negative

    def predict(self, name: str, level: LevelPass) -> Tensor:
        head = self.head
        if name == 'reg':
            reg = head.rtm_reg[level.index](level.branch('reg'))
            return (reg.exp() if head.exp_on_reg else
                    reg) * self.strides[level.index][0]
        cls = head.rtm_cls[level.index](level.branch('cls'))
        if not head.with_objectness:
            return cls
        return inverse_sigmoid(sigmoid_geometric_mean(
            cls, head.rtm_obj[level.index](level.branch('reg'))))

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        _, labels, weights, _, metrics, _ = seen.returned['get_targets'][-1]
        return Targets.of_all_terms(
            self.outputs, labels, weights, mean_of_sums(metrics, at_least=1))
