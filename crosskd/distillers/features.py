"""Distilling features."""
from typing import Any

from ..arguments import check_known
from ..losses.building import build_loss
from ..pairs import PairedPass
from ..pairs.pair import Pair
from ..registry import DISTILLERS
from ..taps import FEATURES, Needs, read_tap
from .base import Distiller, Losses

KEY = 'loss_feat_kd'
#: what a loss can take besides the features, see FeatureLoss
FURTHER = ('level', 'boxes', 'scores')


@DISTILLERS.register_module()
class FeatureDistiller(Distiller):
    """The student's features imitate the teacher's, level by level.

    It works for any two detectors: features can be taken at any of their
    modules.  When training begins, channels and strides are measured and
    levels are matched by stride.  Channel adapters convert the student's
    features to the teacher's channels.

    Example config: ``dict(type='FeatureDistiller',
    loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0))``.

    Args:
        loss_feat_kd: config of a loss that compares ``'features'``, see
            :class:`~crosskd.losses.FeatureLoss`.
        student, teacher: where the features are taken: the name of a module
            whose output is used, such as ``'backbone.layer4'``, or a dict
            such as ``dict(module='bbox_head', io='input')``.  By default the
            input of a dense head that has an adapter, else the output of the
            neck, else that of the backbone.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def __init__(self, loss_feat_kd: dict, student: str | dict | None = None,
                 teacher: str | dict | None = None) -> None:
        super().__init__()
        self.loss_feat_kd = build_loss(KEY, loss_feat_kd, ('features', ))
        self._takes = tuple(getattr(self.loss_feat_kd, 'takes', ()))
        for name in self._takes:
            check_known(f'{KEY}: {type(self.loss_feat_kd).__name__}.takes',
                        name, FURTHER)
        self._taps = (read_tap('student', student),
                      read_tap('teacher', teacher))
        #: the features' name, which that of their channel adapters begins with
        self.features = FEATURES if self._taps == (None, None) else '__'.join(
            FEATURES if tap is None else str(tap).replace(' ', '_')
            for tap in self._taps)

    @property
    def needs(self) -> Needs:
        return Needs(features={self.features: self._taps},
                     scores='scores' in self._takes)

    @property
    def needs_now(self) -> Needs:
        return self.needs if self.counts(KEY, self.loss_feat_kd) else Needs()

    @property
    def method(self) -> str:
        kind = type(self.loss_feat_kd)
        return vars(kind).get('method') or f'features ({kind.__name__})'

    def join(self, pair: Pair) -> None:
        """Build the layers of the loss, for the teacher's channels."""
        build: Any = getattr(self.loss_feat_kd, 'build_layers', None)
        if build is not None:
            build(pair.channels[self.features])

    def forward(self, paired: PairedPass) -> Losses:
        if not self.counts(KEY, self.loss_feat_kd):
            return {KEY: self.nothing(self.loss_feat_kd, paired,
                                      self.features)}
        return {KEY: [
            self.loss_feat_kd(ours, theirs, **further)
            for (ours, theirs), further in zip(
                paired.features(self.features), self._further(paired))
        ]}

    def _further(self, paired: PairedPass) -> list[dict[str, Any]]:
        """Per level, what the loss takes besides the features."""
        levels = range(len(paired.pair.matched[self.features]))
        values: dict[str, Any] = dict(level=levels)
        if 'boxes' in self._takes:
            values['boxes'] = [paired.boxes for _ in levels]
        if 'scores' in self._takes:
            values['scores'] = paired.teacher_scores(self.features)
        return [{name: values[name][level] for name in self._takes}
                for level in levels]
