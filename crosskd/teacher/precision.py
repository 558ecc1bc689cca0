"""In which floating type a teacher is held."""
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
    """The type that ``teacher_dtype`` names; None where it is None.

    Raises:
        TypeError: it is no string.
        ValueError: it names no type that a teacher can be held in.
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
    """What autocast computes in on a type of device; None where it is off."""
    try:
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
    except RuntimeError:  # a device that torch has no autocast for
        pass
    except TypeError:  # before torch 2.4
        if device == 'cpu' and torch.is_autocast_cpu_enabled():
            return torch.get_autocast_cpu_dtype()
        if device == 'cuda' and torch.is_autocast_enabled():
            return torch.get_autocast_gpu_dtype()
    return None


def knows_bfloat16(modules: Iterable[nn.Module]) -> bool:
    """Whether these can run in bfloat16: layers of mmcv's own ops cannot."""
    return not any(type(m).__module__.startswith('mmcv.ops')
                   for module in modules for m in module.modules())


def types_to_hold(asked: torch.dtype | None, default: torch.dtype,
                  autocast: torch.dtype | None
                  ) -> tuple[torch.dtype, torch.dtype]:
    """In which types a teacher runs now: all of it but the head, and the head.

    Gradients of the student's go through the head, and in float16 the small
    ones among them become 0 unless the loss is scaled.  It is where autocast
    computes in float16; without that, the head of a float16 teacher is
    float32.  So is the head where teacher and autocast have one half type
    each, which autocast refuses to bring together.

    Args:
        asked: ``teacher_dtype``, read.
        default: the type where none is asked for.
        autocast: as :func:`autocast_type` tells.
    """
    if asked is None:
        return default, default
    if asked != autocast and (autocast or asked == torch.float16):
        return asked, torch.float32
    return asked, asked


def held_in(detector: BaseDetector,
            head: nn.Module | None) -> tuple[torch.dtype, torch.dtype]:
    """The types of all but the head, and of the head.

    Args:
        detector: the teacher.
        head: its head, where that is run by itself.
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
        head: its head, where that is run by itself.
        body: the type of all but the head.
        to: that of the head.
    """
    for child in detector.children():
        # means and deviations of pixels are no weights
        if child is not detector.data_preprocessor:
            child.to(to if child is head else body)
    for own in detector.parameters(recurse=False):  # such as level embeddings
        own.data = own.data.to(body)


def said(body: torch.dtype, head: torch.dtype) -> str:
    names = [str(t).removeprefix('torch.') for t in (body, head)]
    if body == head:
        return f'runs in {names[0]}'
    return f'runs in {names[0]}, its head in {names[1]}'
