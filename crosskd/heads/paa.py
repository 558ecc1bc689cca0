"""PAA: ATSS's layers, IoU as quality, positives chosen by their losses."""
import torch
from mmdet.models.dense_heads import PAAHead, paa_head

from ..errors import ConfigValueError
from ..registry import HEAD_ADAPTERS
from .atss import ATSSHeadAdapter
from .records import HeadRecord, Targets


@HEAD_ADAPTERS.register_module()
class PAAHeadAdapter(ATSSHeadAdapter):
    """mmdet's ``PAAHead``, and subclasses (Kim et al., arXiv 2007.08103).

    ``reg`` holds the deltas of one anchor per location; ``quality`` is the
    IoU of the box, predicted from the regression tower.

    Example config: ``bbox_head=dict(type='PAAHead')``.
    """

    head_type = PAAHead
    target_methods = ('paa_reassign', )  # called once per image

    def check_learns(self) -> None:
        if paa_head.skm is None:
            raise ConfigValueError(
                'model.bbox_head: PAAHead assigns targets with scikit-learn, '
                'which is not installed (pip install scikit-learn)')

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        labels, weights, _, counts = zip(
            *seen.returned['paa_reassign'][-num_images:])
        sizes = [h * w * self.num_priors for h, w in seen.sizes]
        return Targets.of_all_terms(
            self.outputs, torch.stack(labels).split(sizes, 1),
            torch.stack(weights).split(sizes, 1),
            max(sum(counts), num_images))
