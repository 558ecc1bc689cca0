"""One level of a pass through the rest of a head."""
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar('T')


class LevelPass:
    """What an adapter makes the outputs of one level from.

    Whatever is asked for is made when it is first asked for, and once.

    Args:
        index: of the level.
        run_branch: runs the layers of a branch, given its name.
        predict: makes an output of this level, given its name and this:
            :meth:`crosskd.heads.HeadAdapter.predict`.
    """

    def __init__(self, index: int, run_branch: Callable[[str], Tensor],
                 predict: Callable[[str, 'LevelPass'], Tensor]) -> None:
        #: of the level
        self.index = index
        self._run_branch = run_branch
        self._predict = predict
        self._branches: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        self._steps: dict[str, Any] = {}

    def branch(self, name: str) -> Tensor:
        """(N, C, H, W), what the layers of a branch return."""
        if name not in self._branches:
            self._branches[name] = self._run_branch(name)
        return self._branches[name]

    def output(self, name: str) -> Tensor:
        """(N, A * K, H, W), an output, as ``predict`` returns it."""
        if name not in self._outputs:
            self._outputs[name] = self._predict(name, self)
        return self._outputs[name]

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What a step of ``predict`` makes that several outputs share.

        Args:
            name: of the step, any but those of other steps.
            make: takes it; called for the first of the outputs alone.
        """
        if name not in self._steps:
            self._steps[name] = make()
        return self._steps[name]
