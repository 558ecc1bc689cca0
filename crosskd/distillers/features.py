"""Distilling FPN features."""
from ..losses.building import build_loss
from ..pairs import PairedPass
from ..registry import DISTILLERS
from .base import Distiller, Losses, counts

KEY = 'loss_feat_kd'


@DISTILLERS.register_module()
class FeatureDistiller(Distiller):
    """The student's FPN features imitate the teacher's, level by level.

    Example config: ``dict(type='FeatureDistiller',
    loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0))``.

    Args:
        loss_feat_kd: config of a loss that compares ``'features'``.

    Raises:
        TypeError, ValueError: the loss cannot be used.
    """

    def __init__(self, loss_feat_kd: dict) -> None:
        super().__init__()
        self.loss_feat_kd = build_loss(KEY, loss_feat_kd, ('features', ))

    @property
    def needs(self) -> set[str]:
        return {'features'}

    @property
    def needs_now(self) -> set[str]:
        return self.needs if counts(KEY, self.loss_feat_kd) else set()

    def forward(self, paired: PairedPass) -> Losses:
        if not counts(KEY, self.loss_feat_kd):
            return {KEY: paired.nothing()}
        return {KEY: [
            self.loss_feat_kd(ours, theirs)
            for ours, theirs in paired.features()
        ]}
