"""torch.load reads files through the allow-list.

What: ``torch.load``, for paths, in the block of :func:`restricted_torch`.
Why: some of mmdet's tools, such as ``publish_model.py``, call it themselves,
and torch before 2.6 unpickles without restriction.
Until: torch is 2.6 or newer and no tool turns its restriction off; OpenMMLab's
stack has 2.1.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..checkpoints.loading import load_from_allow_list

_load = torch.load


@contextmanager
def restricted_torch() -> Iterator[None]:
    """Let ``torch.load`` read files through the allow-list in this block.

    Anything that is not a file, such as tensors exchanged between processes,
    is read as usual.
    """

    def load(f: Any, map_location: Any = None, **kwargs: Any) -> Any:
        if isinstance(f, (str, Path)):
            return load_from_allow_list(str(f), map_location)
        return _load(f, map_location, **kwargs)

    vars(torch)['load'] = load
    try:
        yield
    finally:
        vars(torch)['load'] = _load
