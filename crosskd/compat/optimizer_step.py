"""An optimizer that calls a function before each of its steps.

What: ``step`` of one optimizer, not of its class.
Why: torch has ``register_step_pre_hook`` for that; but once anything was
compiled, torch up to 2.1 calls no hook of an optimizer any more.
Until: the OpenMMLab stack's torch (2.1) is no longer supported here.
"""
import functools
import types
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


def before_each_step(optimizer: Optimizer,
                     call: Callable[[Optimizer], None]) -> None:
    """Let an optimizer call a function, with itself, before each step."""
    step = optimizer.step

    @functools.wraps(step)
    def watched(self_: Optimizer, *args: Any, **kwargs: Any) -> Any:
        call(self_)
        return step(*args, **kwargs)

    # a method, as those expect who wrap it further (schedulers)
    optimizer.step = types.MethodType(  # type: ignore[method-assign]
        watched, optimizer)
