"""Base class of the head families.

A family wraps an mmdet head without owning it: it names the layers of the
head's towers (the stacked convs of a branch) and its predictors, brings its
outputs into one layout, decodes them, and reads what the head's own
``get_targets`` returned.
"""
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor

from ..precision import at_least_float32


@dataclass
class Predictions:
    """Outputs of a dense head, one entry a level, in one layout for all heads.

    In float32 at least, whatever type the head computes in.

    Attributes:
        cls: (N, P, C) classification logits, of P priors (anchors or points)
            in the order of the prior generator.
        reg: (N, P, R) regression outputs after the head's own transform.
        quality: (N, P) logits of centerness or IoU; empty where the head has
            none.
    """
    cls: list[Tensor]
    reg: list[Tensor]
    quality: list[Tensor] = field(default_factory=list)


@dataclass
class Targets:
    """What distillation reads of the student's own target assignment.

    Attributes:
        label_weights: per level (N, P); 0 for priors that the head's own
            classification loss ignores.
        positives: per level (N, P), bool; priors that an object is assigned
            to.
        normalizer: what the head's classification loss is divided by.
    """
    label_weights: list[Tensor]
    positives: list[Tensor]
    normalizer: float


class HeadFamily:
    """Base class of the head families; a new one is a subclass in a new file.

    ``class GFLHeadFamily(…, head_type=GFLHead)`` makes a family responsible
    for an mmdet head and its subclasses.

    Args:
        head: the mmdet head.

    Raises:
        TypeError: the head lacks layers of its family, or predicts softmax
            scores.
    """

    #: short name of the family: ``'GFL'``, ``'FCOS'``, …
    name = ''
    #: names of the head's layers after the towers
    predictors: tuple[str, ...] = ()
    #: whether the head predicts a quality (centerness, IoU) per prior
    has_quality = False

    known: dict[type[BaseModule], type['HeadFamily']] = {}

    def __init_subclass__(cls,
                          head_type: type[BaseModule] | None = None,
                          **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__name__.replace('HeadFamily', '')
        if head_type is not None:
            HeadFamily.known[head_type] = cls

    def __init__(self, head: BaseModule) -> None:
        self.head = head
        name = type(head).__name__
        missing = [
            p for p in ('cls_convs', 'reg_convs', *self.predictors)
            if not hasattr(head, p)
        ]
        if missing:
            raise TypeError(
                f'bbox_head: {name} is taken for a {self.name} head but has '
                f'no {", ".join(missing)}')
        if not getattr(head, 'use_sigmoid_cls', True):
            raise TypeError(f'bbox_head: {name} predicts softmax scores; '
                            'distillation needs sigmoid scores '
                            '(loss_cls.use_sigmoid=True)')

    # -- structure ---------------------------------------------------------

    @property
    def towers(self) -> tuple[Sequence[ConvModule], Sequence[ConvModule]]:
        """The classification and the regression tower."""
        return self.head.cls_convs, self.head.reg_convs

    @property
    def depth(self) -> int:
        """Number of layers of a tower."""
        return min(len(tower) for tower in self.towers)

    def channels(self, split: int) -> tuple[int, int]:
        """Channels of the intermediate features after ``split`` tower layers.

        Returns:
            tuple: those of the classification and of the regression tower.
        """
        if split == 0:
            return self.head.in_channels, self.head.in_channels
        cls_tower, reg_tower = self.towers
        return (cls_tower[split - 1].out_channels,
                reg_tower[split - 1].out_channels)

    @property
    def strides(self) -> list[tuple[int, int]]:
        """Stride of every level, in pixels."""
        return [tuple(s) for s in self.head.prior_generator.strides]

    @property
    def num_priors(self) -> list[int]:
        """Priors per location, for every level."""
        return list(self.head.prior_generator.num_base_priors)

    @property
    def num_bins(self) -> int | None:
        """Bins per side where boxes are predicted as distributions."""
        return None

    def has_priors_of(self, other: 'HeadFamily') -> bool:
        """Whether the priors of both heads are equal, in number and value."""
        sizes = [(2, 2)] * len(self.strides)
        ours, theirs = (
            torch.cat(f.head.prior_generator.grid_priors(sizes, device='cpu'))
            for f in (self, other))
        return ours.shape == theirs.shape and torch.equal(ours, theirs)

    # -- forward -----------------------------------------------------------

    def check_outputs(self, outputs: Sequence[Sequence[Tensor]]) -> None:
        """Check that the head's forward returned what its family expects.

        Args:
            outputs: what it returned: maps per branch and level.

        Raises:
            TypeError: another number of branches, levels or channels.
        """
        expected = dict(cls=self.head.cls_out_channels,
                        reg=4 * (self.num_bins or 1))
        if self.has_quality:
            expected['quality'] = 1
        wanted = [[a * n for a in self.num_priors] for n in expected.values()]
        found = [[x.size(1) if isinstance(x, Tensor) else type(x).__name__
                  for x in levels] if isinstance(levels, (list, tuple)) else
                 type(levels).__name__ for levels in outputs]
        if found != wanted:
            raise TypeError(
                f'bbox_head: the forward of {type(self.head).__name__} must '
                f'return maps of {", ".join(expected)} with {wanted} channels '
                f'per level, as {self.name} heads do; found {found}')

    def resume(self, held_cls: Sequence[Tensor], held_reg: Sequence[Tensor],
               split: int) -> tuple[list[Tensor], ...]:
        """Run intermediate features through the rest of the head.

        Args:
            held_cls: per level (N, C, H, W), intermediate features after
                ``split`` layers of the classification tower, aligned to the
                statistics of this head's.
            held_reg: the same of the regression tower.
            split: how many tower layers the features have been through.

        Returns:
            tuple: what the head's forward returns.
        """
        cls_tower, reg_tower = self.towers
        levels = [
            self.predict(
                _rest_of_tower(cls_tower, cls, split),
                _rest_of_tower(reg_tower, reg, split), level)
            for level, (cls, reg) in enumerate(zip(held_cls, held_reg))
        ]
        return tuple(map(list, zip(*levels)))

    def predict(self, cls_feat: Tensor, reg_feat: Tensor,
                level: int) -> tuple[Tensor, ...]:
        """Run the predictors and the output transform of one level.

        Args:
            cls_feat, reg_feat: (N, C, H, W) outputs of the two towers.
            level: index of the level.

        Returns:
            tuple: maps of this level, one for each branch of the head.
        """
        raise NotImplementedError(type(self).__name__)

    def flatten(self, outputs: Sequence[Sequence[Tensor]]) -> Predictions:
        """Turn what the head's forward returned into :class:`Predictions`."""
        maps = [[_flatten_map(x, a) for x, a in zip(levels, self.num_priors)]
                for levels in outputs]
        quality = [q.squeeze(-1) for q in maps[2]] if self.has_quality else []
        return Predictions(cls=maps[0], reg=maps[1], quality=quality)

    # -- boxes -------------------------------------------------------------

    def priors(self, sizes: Sequence[Sequence[int]],
               device: torch.device) -> list[Tensor]:
        """Per level (P, 2 or 4) priors for feature maps of these sizes."""
        return self.head.prior_generator.grid_priors(sizes, device=device)

    def encoded(self, reg: Tensor, level: int) -> Tensor:
        """(..., R) regression outputs as (..., 4) encoded boxes.

        Deltas where the head predicts deltas; where it predicts distances,
        distances in units of the level's stride, so that those of all levels
        are of similar size.
        """
        return reg

    def boxes(self, reg: Tensor, priors: Tensor, level: int) -> Tensor:
        """Decode regression outputs.

        Args:
            reg: (N, P, R) regression outputs of a level.
            priors: (P, 2 or 4) priors of that level, points or boxes.
            level: index of the level.

        Returns:
            Tensor: (N * P, 4) boxes, xyxy in pixels.
        """
        return self.head.bbox_coder.decode(
            priors.repeat(len(reg), 1), reg.flatten(0, 1))

    # -- places on the feature maps ----------------------------------------

    @property
    def offset(self) -> float:
        """Where the centre of the first prior is, in units of the stride."""
        raise NotImplementedError(type(self).__name__)

    def level_of(self, boxes: Tensor) -> Tensor:
        """The level that detects boxes of such a size.

        Args:
            boxes: (n, 4), xyxy in pixels.

        Returns:
            Tensor: (n, ) indices of levels.
        """
        raise NotImplementedError(type(self).__name__)

    # -- targets -----------------------------------------------------------

    def targets(self, recorded: tuple, num_images: int) -> Targets:
        """Read what the head's own ``get_targets`` returned.

        Args:
            recorded: the return value of ``get_targets``.
            num_images: N.

        Returns:
            Targets: in the layout of :class:`Predictions`.
        """
        raise NotImplementedError(type(self).__name__)

    def valid_priors(self, sizes: Sequence[Sequence[int]],
                     img_metas: Sequence[dict],
                     device: torch.device) -> list[Tensor]:
        """Per level (N, P) float: 1 for priors inside the padded image.

        They are the label weights where student and teacher have different
        priors.
        """
        flags = [
            self.head.prior_generator.valid_flags(
                sizes, meta['pad_shape'], device=device) for meta in img_metas
        ]
        return [torch.stack(level).float() for level in zip(*flags)]

    def is_positive(self, labels: Tensor) -> Tensor:
        """Which labels are classes, neither background nor ignored."""
        return (labels >= 0) & (labels < self.head.num_classes)


def family_of(head: BaseModule, teaches: bool = False) -> HeadFamily:
    """Wrap a head in its family.

    A project's subclass of a known head belongs to that head's family.
    mmdet's own subclasses (PAA, LD, FreeAnchor, …) assign targets or compute
    losses in ways of their own.  They can be teachers, if they inherit the
    forward of the known head, but not students.

    Args:
        head: the mmdet head.
        teaches: whether it is a teacher's, of which only the forward is used.

    Raises:
        TypeError: no family knows the head.
    """
    for base in type(head).__mro__:
        if base in HeadFamily.known:
            return HeadFamily.known[base](head)
        if base.__module__.startswith('mmdet.') and not (
                teaches and _inherits_forward(base)):
            break
    known = ', '.join(sorted(h.__name__ for h in HeadFamily.known))
    raise TypeError(f'bbox_head: {type(head).__name__} cannot be distilled; '
                    f'expected one of {known}, or a subclass')


def _inherits_forward(head: type) -> bool:
    """Whether a class of heads leaves the forward as its base class has it."""
    return not {'forward', 'forward_single'} & set(vars(head))


def _rest_of_tower(tower: Sequence[ConvModule], held: Tensor,
                   split: int) -> Tensor:
    # Aligned features have negative values again, which the next layer never
    # saw in training: the activation of the layer they left is applied anew.
    if split > 0 and tower[split - 1].with_activation:
        activate = copy.copy(tower[split - 1].activate)
        if hasattr(activate, 'inplace'):  # the input is not ours
            activate.inplace = False
        held = activate(held)
    elif split < len(tower) and tower[split].order[0] != 'conv':
        held = held.clone()  # that layer may begin in place
    for layer in tower[split:]:
        held = layer(held)
    return held


def _flatten_map(x: Tensor, priors: int) -> Tensor:
    """(N, A * K, H, W) -> (N, H * W * A, K)."""
    n, _, h, w = x.shape
    x = at_least_float32(x).permute(0, 2, 3, 1)
    return x.reshape(n, h * w * priors, -1)
