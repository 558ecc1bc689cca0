"""What both detectors made of one batch, ready to be compared."""
from functools import cached_property

import torch
from mmdet.structures import SampleList
from torch import Tensor

from ..taps import FEATURES, Record
from .pair import Pair


class PairedPass:
    """The passes of student and teacher over one batch, brought together.

    On the levels that both have.  Making it computes nothing.

    Args:
        pair: what bridges the two detectors.
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
        """Where all of it is."""
        return self._learned.device

    def begin(self) -> None:
        """Compute what has to be computed in the precision of the passes."""

    def features(self, name: str = FEATURES) -> list[tuple[Tensor, Tensor]]:
        """Per level (N, C, H, W) features of both, of one width and size.

        Args:
            name: of the features, as ``needs`` of a distiller has it.
        """
        return self.pair.features(name, self._learned.features[name],
                                  self._taught.features[name])

    def nothing(self, name: str = FEATURES) -> list[Tensor]:
        """0 for each level, for what is not computed.

        Channel adapters that are idle meanwhile get a gradient of 0 by it,
        because DDP wants one for whatever trains.

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
