"""The floating point types in which a teacher is stored."""
from collections.abc import Iterable
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from torch import nn

from ..errors import ConfigTypeError, ConfigValueError

TYPES = {str(t).removeprefix('torch.'): t
         for t in (torch.float32, torch.bfloat16, torch.float16)}
HALVES = (torch.bfloat16, torch.float16)


def read_type(name: Any) -> torch.dtype | None:
    """The type that ``teacher_dtype`` names; None if it is None.

    Raises:
        TypeError: it is not a string.
        ValueError: it does not name a type that a teacher can have.
    """
    if name is None:
        return None
    expected = f'expected {", ".join(map(repr, TYPES))} or None'
    if not isinstance(name, str):
        raise ConfigTypeError(
            f'teacher_dtype must be a string, found {name!r}; '
            f'{expected}')
    if name not in TYPES:
        raise ConfigValueError(
            f'teacher_dtype={name!r}: no such type; {expected}')
    return TYPES[name]


def autocast_type(device: str) -> torch.dtype | None:
    """The type that autocast uses on a type of device; None if it is off."""
    try:
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
    except RuntimeError:  # torch has no autocast for this device
        pass
    except TypeError:  # before torch 2.4
        if device == 'cpu' and torch.is_autocast_cpu_enabled():
            return torch.get_autocast_cpu_dtype()
        if device == 'cuda' and torch.is_autocast_enabled():
            return torch.get_autocast_gpu_dtype()
    return None


def knows_bfloat16(modules: Iterable[nn.Module]) -> bool:
    """Whether these can run in bfloat16; layers with mmcv's ops cannot."""
    return not any(type(m).__module__.startswith('mmcv.ops')
                   for module in modules for m in module.modules())


def types_to_hold(asked: torch.dtype | None, default: torch.dtype,
                  autocast: torch.dtype | None
                  ) -> tuple[torch.dtype, torch.dtype]:
    """The types in which a teacher runs now: without its head, and its head.

    The student's gradients pass through the head, and in float16 small ones
    become 0 unless the loss is scaled.  The loss is scaled if autocast uses
    float16; otherwise the head of a float16 teacher is float32.  The head is
    also float32 if teacher and autocast have different half types, which
    autocast refuses to combine.

    Args:
        asked: the type that ``teacher_dtype`` names.
        default: the type if it names none.
        autocast: as :func:`autocast_type` returns it.
    """
    if asked is None:
        return default, default
    if asked != autocast and (autocast or asked == torch.float16):
        return asked, torch.float32
    return asked, asked


def held_in(detector: BaseDetector,
            head: nn.Module | None) -> tuple[torch.dtype, torch.dtype]:
    """The types of everything but the head, and of the head.

    Args:
        detector: the teacher.
        head: its head, if it is run separately.
    """
    heads = [] if head is None else [p.dtype for p in head.parameters()]
    inside = set() if head is None else {id(p) for p in head.parameters()}
    body = next((p.dtype for p in detector.parameters()
                 if id(p) not in inside), *heads[:1])
    return body, next(iter(heads), body)


def cast(detector: BaseDetector, head: nn.Module | None, body: torch.dtype,
         to: torch.dtype) -> None:
    """Cast the weights of a detector.

    Args:
        detector: the teacher.
        head: its head, if it is run separately.
        body: the type of everything but the head.
        to: the type of the head.
    """
    for child in detector.children():
        # means and deviations of pixels are not weights
        if child is not detector.data_preprocessor:
            child.to(to if child is head else body)
    for own in detector.parameters(recurse=False):  # such as level embeddings
        own.data = own.data.to(body)


def said(body: torch.dtype, head: torch.dtype) -> str:
    names = [str(t).removeprefix('torch.') for t in (body, head)]
    if body == head:
        return f'runs in {names[0]}'
    return f'runs in {names[0]}, its head in {names[1]}'
