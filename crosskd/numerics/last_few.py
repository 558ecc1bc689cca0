"""Keeping a few results that are expensive to make anew."""
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

T = TypeVar('T')

FEW_SIZES = 8  # batches have few sizes at a time


class LastFew(Generic[T]):
    """The results of the last few keys that were asked for.

    For tensors that depend on the sizes of a batch alone.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int = FEW_SIZES) -> None:
        self._limit = limit
        self._made: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for a key, now or before."""
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        while len(self._made) >= self._limit:
            self._made.popitem(last=False)
        with torch.inference_mode(False):  # it may be used in training, too
            self._made[key] = made = make()
        return made
