"""Paired passes that give a picture the data that it needs."""
from typing import Any

from torch import Tensor

from ...pairs import DensePass, PairedPass


class SeenPass(PairedPass):
    """A paired pass of any two detectors, with access to its records."""

    @property
    def records(self) -> tuple[Any, Any]:
        """The records of the passes of student and teacher."""
        return self._learned, self._taught

    @property
    def has_cross_head(self) -> bool:
        """Whether there are cross-head predictions."""
        return False

    def of_locations(self, sums: object) -> list[Tensor] | None:
        """Per level (H, W), the terms of a loss's sums, for the first image.

        None if the sums are not over locations.
        """
        return None


class LocatedPass(SeenPass, DensePass):
    """A paired pass that keeps the losses of single locations."""

    def by_level(self, values: Tensor) -> list[Tensor]:
        sums = super().by_level(values)
        self.located = [*getattr(self, 'located', ()), (sums, values)]
        return sums

    @property
    def has_cross_head(self) -> bool:
        return bool(self._cross_head)

    def of_locations(self, sums: object) -> list[Tensor] | None:
        values = next((v for s, v in getattr(self, 'located', ())
                       if s is sums), None)
        if values is None:
            return None
        levels = values[0].split(self.geometry('teacher').counts)
        return [x.view(*like.shape[2:], -1).sum(-1) for x, like in zip(
            levels, self.maps('teacher', 'cls'))]
