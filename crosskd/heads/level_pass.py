"""One level of a pass through the rest of a head."""
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar('T')


class LevelPass:
    """The features and outputs of one level, for ``HeadAdapter.predict``.

    Each is computed when it is first asked for, and only once.

    Args:
        index: of the level.
        run_branch: runs the layers of a branch, given its name.
        predict: :meth:`crosskd.heads.HeadAdapter.predict`, which makes an
            output of this level, given its name and this object.
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
        """(N, C, H, W), the result of the layers of a branch."""
        if name not in self._branches:
            self._branches[name] = self._run_branch(name)
        return self._branches[name]

    def output(self, name: str) -> Tensor:
        """(N, A * K, H, W), an output of ``predict``."""
        if name not in self._outputs:
            self._outputs[name] = self._predict(name, self)
        return self._outputs[name]

    def once(self, name: str, make: Callable[[], T]) -> T:
        """The result of a step of ``predict`` that several outputs share.

        Args:
            name: of the step; different steps have different names.
            make: makes the result; called only by the first of the outputs.
        """
        if name not in self._steps:
            self._steps[name] = make()
        return self._steps[name]
