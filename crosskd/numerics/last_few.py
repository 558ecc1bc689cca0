"""A cache for a few results that are expensive to compute."""
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

T = TypeVar('T')

FEW_SIZES = 8  # batches have few sizes at a time


class LastFew(Generic[T]):
    """A cache of the results for the last few keys.

    It is for tensors that depend only on the sizes of a batch.

    Args:
        limit: how many results are kept.
    """

    def __init__(self, limit: int = FEW_SIZES) -> None:
        self._limit = limit
        self._made: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result for a key, from the cache or by calling ``make``."""
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        while len(self._made) >= self._limit:
            self._made.popitem(last=False)
        with torch.inference_mode(False):  # it may be used in training, too
            self._made[key] = made = make()
        return made
