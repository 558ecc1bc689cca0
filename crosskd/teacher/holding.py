"""Storing a teacher in the type that it runs in, with its norms fused."""
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmengine.logging import print_log
from torch import Tensor

from ..heads import HeadAdapter
from ..taps import HEAD_INPUT
from ..taps.running import BODY
from .fusing import FusedNorms
from .precision import (
    HALVES,
    autocast_type,
    cast,
    held_in,
    knows_bfloat16,
    said,
    types_to_hold,
)

Types = tuple[torch.dtype, torch.dtype]


class Holding:
    """The data types in which a teacher is stored, and its fused norms.

    There are always two types: one for the head, one for everything else.

    Args:
        asked: the type that ``teacher_dtype`` names; None for the student's
            or autocast's.

    Attributes:
        norms: the fused norms of the detector.
        has_run: whether it has run, and so is stored as it runs.
    """

    def __init__(self, asked: torch.dtype | None) -> None:
        self.norms = FusedNorms()
        self._asked = asked
        self._students = torch.float32
        self._autocasts: torch.dtype | None = None
        self.has_run = False
        self._knows: tuple[bool, bool] | None = None

    def types(self, detector: BaseDetector, head: HeadAdapter | None,
              alone: bool, device: str) -> Types:
        """The types in which a detector runs now.

        Args:
            detector: the teacher.
            head: its dense head, if crosskd knows it.
            alone: whether only its backbone, neck and head run.
            device: type of the device that it is on.
        """
        now = autocast_type(device)
        self._autocasts = now or self._autocasts
        # autocast does not change float64
        default = (torch.float64 if self._students == torch.float64 else
                   self._autocasts or self._students)
        if self._knows is None:
            self._knows = _know_bfloat16(detector, head, alone)
        body, its = (
            torch.float32 if t == torch.bfloat16 and not knows else t
            for t, knows in zip(types_to_hold(self._asked, default, now),
                                self._knows))
        return body, its

    def hold(self, detector: BaseDetector, head: HeadAdapter | None,
             types: Types, inputs: Tensor) -> None:
        """Fuse norms, and cast every part to its type.

        Args:
            detector, head: the teacher, and its dense head, if crosskd knows
                it.
            types: as :meth:`types` returned them.
            inputs: a batch of images.
        """
        dense = () if head is None else (HEAD_INPUT.module, )
        # not in float64, where the rounding that fusing adds would matter
        fused = self.norms.settle(
            detector, torch.float64 not in (types[0], inputs.dtype),
            inputs.size(1), [name for name in (*BODY, *dense)
                             if getattr(detector, name, None) is not None])
        held = held_in(detector, _module(head))
        if self.has_run and held == types and not fused:
            return
        cast(detector, _module(head), *types)
        self.has_run = True
        done = [said(*types), fused]
        print_log(f'teacher: {"; ".join(filter(None, done))}',
                  logger='current')

    def follow(self, detector: BaseDetector, head: HeadAdapter | None,
               student: torch.dtype) -> None:
        """Take the student's new type.

        Half precision is applied at the next run only.
        """
        self._students = student
        if student in HALVES:
            self._autocasts = None
        elif self._asked is None and self._autocasts is None:
            cast(detector, _module(head), student, student)


def _know_bfloat16(detector: BaseDetector, head: HeadAdapter | None,
                   alone: bool) -> tuple[bool, bool]:
    # ops such as RoIAlign do not count if their part does not run
    body = [child for name, child in detector.named_children()
            if (name in BODY if alone else child is not _module(head))]
    return knows_bfloat16(body), head is None or knows_bfloat16(
        [head.head]) and not head.calls_mmcv_ops


def _module(head: HeadAdapter | None) -> Any:
    return None if head is None else head.head
