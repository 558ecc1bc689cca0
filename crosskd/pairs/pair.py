"""A student and a teacher, and how their features are matched."""
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from mmdet.registry import MODELS
from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from ..arguments import naming
from ..checkpoints.auxiliary import Auxiliary
from ..errors import ConfigValueError
from ..heads import HeadAdapter
from ..numerics.randomness import untouched_randomness
from ..numerics.resizing import resized
from ..registry import in_our_scope
from ..taps import HEAD_INPUT, Level, Needs, Plan
from .levels import left_over, match_levels, nearest_levels

ADAPTER = dict(type='ChannelAdapter')


@dataclass
class Side:
    """One of the two detectors of a pair, when they are joined.

    Attributes:
        levels: by the name of features, the levels that were measured.
        head: its dense head, if predictions are distilled.
        classes: names of its classes, if they are known.
        is_detector: False for a teacher that is another model, whose levels
            need not have the strides of a detector's.
    """
    levels: Mapping[str, Sequence[Level]] = field(default_factory=dict)
    head: HeadAdapter | None = None
    classes: Sequence[str] | None = None
    is_detector: bool = True


class Pair(Auxiliary):
    """Matches two detectors whose features are distilled.

    Both detectors are known only after the teacher is read, so :meth:`join`
    does the matching, once, when training begins.  The channel adapters train
    with the student and are saved beside its ``state_dict``, see
    :class:`~crosskd.checkpoints.auxiliary.Auxiliary`.

    Args:
        adapter: config of the channel adapters.

    Attributes:
        is_joined: whether the two have been matched and checked.
        notes: what was adapted, in the words of the log.
        matched: by the name of features, indices of the levels that both
            have, as (student's, teacher's), matched by stride.
        strides: by the name of features, the stride of each of these levels.
        channels: by the name of features, the teacher's channels of each.
        split: after how many layers the heads of student and teacher are
            split; None if they are not split.
    """

    split: tuple[int, int] | None = None

    def __init__(self, adapter: dict | None = None) -> None:
        super().__init__()
        self.adapter = adapter or ADAPTER
        self.adapters = ModuleDict()
        self._widths: dict[str, int] = {}
        self._keys: dict[str, list[str]] = {}
        self.is_joined = False
        self.notes: list[str] = []
        self._resizes_target = False
        self.matched: dict[str, list[tuple[int, int]]] = {}
        self.strides: dict[str, list[tuple[float, float]]] = {}
        self.channels: dict[str, list[int]] = {}

    # -- when training begins ----------------------------------------------

    def join(self, student: Side, teacher: Side, plan: Plan,
             like: Tensor) -> None:
        """Match the two detectors, and build the adapters between them.

        Args:
            student, teacher: the two detectors.
            plan: the plan for the pair.
            like: a parameter of the student, for device and data type.

        Raises:
            ValueError: they have no level in common.
            TypeError: an adapter cannot be built.
        """
        self.adapters.clear()
        self.notes.clear()
        self._match(student, teacher, plan)
        # the same seed gives the same student, whatever is distilled
        with untouched_randomness(), torch.device('cpu'):
            self._bridge_all(student, teacher, plan)
        # DDP needs a gradient for every parameter that trains
        for adapter in self.idle(plan.needs):
            adapter.requires_grad_(False)
        self.to(like.device, like.dtype)

    def _match(self, student: Side, teacher: Side, plan: Plan) -> None:
        self._resizes_target = not teacher.is_detector
        match = match_levels if teacher.is_detector else nearest_levels
        for name in student.levels:
            ours, theirs = ([level.stride for level in side.levels[name]]
                            for side in (student, teacher))
            matched = self.matched[name] = match(
                ours, theirs, f' at the {plan.student[name]}')
            self.strides[name] = [ours[i] for i, _ in matched]
            self.channels[name] = [teacher.levels[name][j].channels
                                   for _, j in matched]
            if not teacher.is_detector:
                self.note(f'{name}: the teacher is no detector; ' + ', '.join(
                    f'its level {j} of stride {theirs[j][0]:g} teaches the '
                    f"student's of stride {ours[i][0]:g}"
                    for i, j in matched))
            self.note(*left_over(ours, theirs, matched))

    def _bridge_all(self, student: Side, teacher: Side, plan: Plan) -> None:
        """Build the channel adapters that the comparison needs."""
        for name, matched in self.matched.items():
            tap = plan.student[name]
            widths = [(student.levels[name][i].channels,
                       teacher.levels[name][j].channels) for i, j in matched]
            key = name.replace('.', '_')  # names of modules have no dots
            what = 'FPN' if tap == HEAD_INPUT else str(tap)
            if len(set(widths)) == 1:  # as in an FPN
                self._keys[name] = [key] * len(matched)
                self._bridge(key, what, *widths[0])
                continue
            self._keys[name] = [f'{key}_{k}' for k in range(len(matched))]
            for k, (i, _) in enumerate(matched):
                stride = student.levels[name][i].stride[0]
                self._bridge(f'{key}_{k}', f'{what}, stride {stride:g}',
                             *widths[k])

    def _bridge(self, key: str, what: str, ours: int, theirs: int) -> None:
        """Build a channel adapter if the channels differ."""
        if ours == theirs:
            return
        with naming('kd_cfg.adapter: '):
            adapter = self.adapters[key] = MODELS.build(
                dict(in_our_scope(MODELS, self.adapter),
                     in_channels=ours, out_channels=theirs))
        if isinstance(adapter, BaseModule):
            adapter.init_weights()
        self._widths[key] = theirs
        self.note(
            f'{what}: the student has {ours} channels and the teacher '
            f'{theirs}; a {type(adapter).__name__} (kd_cfg.adapter) is '
            "trained to convert the student's")

    def note(self, *messages: str, level: int = logging.INFO) -> None:
        """Keep and log notes about what was adapted, each of them once."""
        for message in messages:
            if message not in self.notes:
                self.notes.append(message)
                print_log(f'distillation: {message}', 'current', level)

    def init_weights(self) -> None:
        """Do nothing: channel adapters are initialised when they are built."""

    # -- in a training step ------------------------------------------------

    def idle(self, needs: Needs) -> list[nn.Module]:
        """The channel adapters that no needed output uses.

        Args:
            needs: what the distillers need.
        """
        used = set(self._used(needs))
        return [adapter for key, adapter in self.adapters.items()
                if key not in used]

    def _used(self, needs: Needs) -> Iterable[str]:
        for name in needs.features:
            yield from self._keys[name]

    def adapt(self, key: str, features: Tensor) -> Tensor:
        """A student's (N, C, H, W) features with the teacher's channels."""
        if key not in self.adapters:
            return features
        adapted = self.adapters[key](features)
        expected = (len(features), self._widths[key], *features.shape[2:])
        if adapted.shape != expected:
            raise ConfigValueError(
                f'kd_cfg.adapter: {type(self.adapters[key]).__name__} must '
                f'return features of the shape {expected}, found '
                f'{tuple(adapted.shape)}')
        return adapted

    def features(self, name: str, ours: Sequence[Tensor],
                 theirs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Features of both detectors on their common levels, in equal shapes.

        Args:
            name: of the features.
            ours, theirs: per level of each detector (N, C, H, W).

        Returns:
            list: per common level, the student's features with the channels
            of the teacher's, and the teacher's.  If they differ in size, the
            student's are resized to the teacher's; those of a teacher that is
            no detector are resized to the student's.
        """
        return [self._sized(name, self.adapt(key, ours[i]), theirs[j])
                for key, (i, j) in zip(self._keys[name], self.matched[name])]

    def _sized(self, name: str, ours: Tensor, theirs: Tensor
               ) -> tuple[Tensor, Tensor]:
        """Both maps in one size, which differs after padding, for example."""
        if ours.shape[2:] == theirs.shape[2:]:
            return ours, theirs
        if self._resizes_target:
            return ours, resized(theirs, ours)
        sizes = ['×'.join(map(str, x.shape[2:])) for x in (ours, theirs)]
        self.note(
            f'{name}: maps of the same stride differ in size, such as '
            f"{sizes[0]} (student) and {sizes[1]} (teacher); the student's "
            'are resized (bilinear)')
        return resized(ours, theirs), theirs
