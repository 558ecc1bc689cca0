"""Distilling features."""
from ..losses.building import build_loss
from ..losses.pkd_loss import PKDLoss
from ..pairs import PairedPass
from ..registry import DISTILLERS
from ..taps import FEATURES, Needs, read_tap
from .base import Distiller, Losses

KEY = 'loss_feat_kd'


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
        loss_feat_kd: config of a loss that compares ``'features'``.
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
        self._taps = (read_tap('student', student),
                      read_tap('teacher', teacher))
        #: the features' name, which that of their channel adapters begins with
        self.features = FEATURES if self._taps == (None, None) else '__'.join(
            FEATURES if tap is None else str(tap).replace(' ', '_')
            for tap in self._taps)

    @property
    def needs(self) -> Needs:
        return Needs(features={self.features: self._taps})

    @property
    def needs_now(self) -> Needs:
        return self.needs if self.counts(KEY, self.loss_feat_kd) else Needs()

    @property
    def method(self) -> str:
        kind = type(self.loss_feat_kd)
        return 'PKD' if kind is PKDLoss else f'features ({kind.__name__})'

    def forward(self, paired: PairedPass) -> Losses:
        if not self.counts(KEY, self.loss_feat_kd):
            return {KEY: self.nothing(self.loss_feat_kd, paired,
                                      self.features)}
        return {KEY: [
            self.loss_feat_kd(ours, theirs)
            for ours, theirs in paired.features(self.features)
        ]}
