"""The record of one pass of a detector."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .needs import Needs


@dataclass
class Record:
    """The record of one pass of a detector.

    Attributes:
        features: by name, per level (N, C, H, W).
        needs: what the pass was made for.
    """
    features: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    needs: Needs = Needs()

    @property
    def class_logits(self) -> Sequence[Tensor]:
        """Per level (N, A * K, H, W), if a dense head was run."""
        return ()

    @property
    def device(self) -> torch.device:
        """The device of the maps."""
        return next(iter(self.features.values()))[0].device
