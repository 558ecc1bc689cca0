"""Recording one pass through a dense head."""
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import Any

from torch import Tensor
from torch.nn import Module

from .base import HeadAdapter
from .records import HeadRecord


@contextmanager
def record(adapter: HeadAdapter,
           split: int | None = None) -> Iterator[HeadRecord]:
    """Record the pass through ``adapter.head`` that happens in the block.

    The head runs its own forward and loss, and hooks record what passes.  So
    none of its code is copied here, and subclasses keep their behaviour.

    Args:
        adapter: the head, in its adapter.
        split: record the intermediate features after this many layers of each
            branch; None to record none.

    Yields:
        HeadRecord: filled while the block runs.
    """
    seen = HeadRecord(adapter=adapter, split=split)
    head = adapter.head
    with ExitStack() as stack:

        def given(_: Module, args: tuple) -> None:
            seen.given = args[0]
            if split == 0:
                seen.intermediates = {
                    branch: list(args[0]) for branch in adapter.branches
                }

        def made(_: Module, args: tuple, outputs: tuple) -> None:
            seen.raw = outputs
            seen.training = head.training
            seen.outputs = _NamedOutputs(partial(
                adapter.named, outputs, seen.training))

        handles = [head.register_forward_pre_hook(given),
                   head.register_forward_hook(made)]
        if split:
            for branch in adapter.branches:
                found = seen.intermediates[branch] = []
                # shared by all levels, or one per level
                last = {id(m): m for m in (
                    adapter.layers(branch, level)[split - 1]
                    for level in range(len(adapter.strides)))}
                handles += [m.register_forward_hook(partial(_append, found))
                            for m in last.values()]
        for handle in handles:
            stack.callback(handle.remove)
        for name in adapter.target_methods:
            results = seen.returned[name] = []
            stack.callback(_set_on_instance(
                head, name, _recording(getattr(head, name), results)))
        yield seen


class _NamedOutputs(Mapping[str, list[Tensor]]):
    """Outputs by name, made on demand; CrossKD never needs the student's."""

    def __init__(self, make: Callable[[], dict[str, list[Tensor]]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> dict[str, list[Tensor]]:
        return self._make()

    def __getitem__(self, name: str) -> list[Tensor]:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def _append(found: list[Tensor], _: Module, args: tuple,
            out: Tensor) -> None:
    found.append(out)


def _recording(method: Callable, results: list[Any]) -> Callable:

    def recording(*args: Any, **kwargs: Any) -> Any:
        results.append(method(*args, **kwargs))
        return results[-1]

    return recording


def _set_on_instance(owner: Module, name: str,
                     value: Callable) -> Callable[[], None]:
    """Set an attribute of the instance; returns a function that undoes it."""
    own = vars(owner)
    was_there, before = name in own, own.get(name)
    own[name] = value

    def undo() -> None:
        if own.get(name) is not value:
            return  # something else has replaced it since
        if was_there:
            own[name] = before
        else:
            del own[name]

    return undo
