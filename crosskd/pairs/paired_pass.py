"""The outputs of both detectors for one batch, ready to be compared."""
from functools import cached_property

import torch
from mmdet.structures import SampleList
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..errors import ConfigValueError
from ..numerics.constants import constant
from ..taps import FEATURES, Record
from .pair import Pair

# wider than a batch, so that it covers no location of a map
NO_BOX = -1e5


class PairedPass:
    """The outputs of student and teacher for one batch, matched.

    It covers the levels that both have.  Making it computes nothing.

    Args:
        pair: the pair of the two detectors.
        learned, taught: records of the passes of student and teacher.
        samples: ground truth and meta information of the batch.
    """

    def __init__(self, pair: Pair, learned: Record, taught: Record,
                 samples: SampleList) -> None:
        self.pair = pair
        self.samples = samples
        self._learned = learned
        self._taught = taught

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self._learned.device

    def begin(self) -> None:
        """Compute everything that needs the precision of the passes."""

    def features(self, name: str = FEATURES) -> list[tuple[Tensor, Tensor]]:
        """Per level (N, C, H, W) features of both, in equal shapes.

        Args:
            name: of the features, as in the ``needs`` of a distiller.
        """
        return self.pair.features(name, self._learned.features[name],
                                  self._taught.features[name])

    @cached_property
    def boxes(self) -> Tensor:
        """The ground-truth boxes, (N, n, 4) with n >= 1.

        They are xyxy, divided by the width and height of the batch.  The rows
        of an image with fewer than n boxes end with negative ones.

        Raises:
            ValueError: an image has no boxes, not even an empty tensor.
        """
        if not all('bboxes' in s.get('gt_instances', ())
                   for s in self.samples):
            raise ConfigValueError(
                'kd_cfg: a loss takes the ground-truth boxes (takes), but '
                'train_dataloader.dataset gives none (gt_instances.bboxes); '
                'expected annotations with boxes, or a loss without them')
        height, width = self.samples[0].batch_input_shape
        size = constant((width, height, width, height), torch.float32,
                        self.device)
        found = [get_box_tensor(s.gt_instances.bboxes).float()
                 for s in self.samples]
        at_least_one = torch.full_like(size[None], NO_BOX)
        return pad_sequence([*found, at_least_one], batch_first=True,
                            padding_value=NO_BOX)[:-1] / size

    def teacher_scores(self, name: str = FEATURES) -> list[Tensor]:
        """Per level (N, 1, H, W), the teacher's largest class scores.

        Args:
            name: of the features whose levels count.

        Raises:
            ValueError: the teacher's head has no scores at these features.
        """
        maps = self._taught.class_logits
        found = []
        for _, j in self.pair.matched[name]:
            features = self._taught.features[name][j]
            if j >= len(maps) or maps[j].shape[2:] != features.shape[2:]:
                raise ConfigValueError(
                    f'kd_cfg: level {j} of the teacher\'s {name} has '
                    f'{tuple(features.shape[2:])} locations, but its head '
                    'has no class scores of that size there; take the '
                    'features that the head is given')
            found.append(maps[j].sigmoid().amax(1, keepdim=True))
        return found

    def nothing(self, name: str = FEATURES) -> list[Tensor]:
        """0 for each level, in place of a loss that is not computed.

        It gives channel adapters that are idle a gradient of 0, because DDP
        needs a gradient for every parameter that trains.

        Args:
            name: of the features whose levels count.
        """
        return [self._zero] * len(self.pair.matched[name])

    @cached_property
    def _zero(self) -> Tensor:
        zero = torch.zeros((), device=self.device)
        return sum(((0 * p).sum()
                    for adapter in self.pair.idle(self._taught.needs)
                    for p in adapter.parameters() if p.requires_grad), zero)
