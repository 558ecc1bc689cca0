"""GFL: one anchor per location, box sides as distributions over bins."""
from collections.abc import Callable

from mmdet.models.dense_heads import GFLHead
from torch import Tensor

from ..registry import HEAD_ADAPTERS
from .anchor import AnchorHeadAdapter
from .level_pass import LevelPass
from .records import Geometry


@HEAD_ADAPTERS.register_module()
class GFLHeadAdapter(AnchorHeadAdapter):
    """mmdet's ``GFLHead``, and subclasses (Li et al., arXiv 2006.04388).

    ``reg`` holds the bin logits of four distributions: the distances to the
    four sides, in units of the stride.

    Example config: ``bbox_head=dict(type='GFLHead')``.
    """

    head_type = GFLHead
    predictors = ('gfl_cls', 'gfl_reg', 'scales', 'integral')
    first_target = 1
    reduces_normalizer = True

    @property
    def num_bins(self) -> int:
        return self.head.reg_max + 1

    def predict(self, name: str, level: LevelPass) -> Tensor:
        if name == 'cls':
            return self.head.gfl_cls(level.branch('cls'))
        reg = self.head.gfl_reg(level.branch('reg'))
        return self.head.scales[level.index](reg).float()

    @property
    def forms(self) -> dict[str, Callable[[Tensor, Geometry], Tensor]]:
        return dict(super().forms, bins=self.bins)

    def bins(self, reg: Tensor, geometry: Geometry) -> Tensor:
        """(N, P, 4 * bins) outputs as (N * P * 4, bins) logits."""
        return reg.unflatten(-1, (4, -1)).flatten(0, -2)

    def encoded(self, reg: Tensor, geometry: Geometry) -> Tensor:
        return self.head.integral(reg).reshape(-1, 4)

    def boxes(self, reg: Tensor, geometry: Geometry) -> Tensor:
        distances = self.encoded(reg, geometry).view(
            len(reg), -1, 4) * geometry.strides
        return super().boxes(distances, geometry)
