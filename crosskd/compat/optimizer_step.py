"""Calling a function before each step of an optimizer.

What: replaces ``step`` of one optimizer, not of its class.
Why: torch has ``register_step_pre_hook`` for that.  But after anything is
compiled, torch up to 2.1 no longer calls an optimizer's hooks.
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

    # a method, because schedulers wrap it further and expect one
    optimizer.step = types.MethodType(  # type: ignore[method-assign]
        watched, optimizer)
