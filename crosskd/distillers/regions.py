"""Distilling regions of logit maps (SDD)."""
import logging
from collections.abc import Mapping

from mmdet.utils import reduce_mean
from mmengine.logging import print_log
from mmengine.model import ModuleDict

from ..arguments import check_known, one_of
from ..errors import ConfigTypeError, ConfigValueError
from ..losses.building import build_loss
from ..losses.sdd_bases import SOFTMAX_BASES
from ..losses.sdd_loss import SDDLoss, at_least_one_of
from ..pairs import DensePass, Pair
from ..registry import DISTILLERS, REGIONS
from ..taps import Needs
from .base import PREDICTIONS, Distiller, Losses, dense
from .schedules import LinearWarmup, Schedule

WEIGHTINGS = ('all', 'confidence')


@DISTILLERS.register_module()
class RegionDistiller(Distiller):
    """SDD (Wei et al., CVPR 2024, arXiv 2403.13512) on a dense head.

    In each region, the classification logits of both detectors are pooled to
    grids of several scales, and each cell is distilled separately.

    Example config: ``dict(type='RegionDistiller', prediction='student',
    loss_sdd=dict(type='SDDLoss', base='kd', temperature=1.0),
    sdd_regions=dict(map=dict(), box=None))``.

    A kind of region is a function in the registry ``REGIONS``.  It takes a
    :class:`~crosskd.pairs.DensePass` and ``prediction``, and returns a list of
    :class:`~crosskd.distillers.LogitMaps`, such as one per level.  If it has
    an attribute ``points``, no scale may be larger.

    Args:
        loss_sdd: config of an ``SDDLoss``, or of a subclass.
        sdd_regions: for each kind of region, a dict of changes to
            ``loss_sdd``, or None to leave that kind out.  By default map and
            box.
        sdd_weighting: ``'all'`` cells count equally, or by the teacher's
            ``'confidence'``.
        prediction: ``'cross_head'`` or ``'student'``.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def __init__(self,
                 loss_sdd: dict,
                 sdd_regions: Mapping[str, dict | None] | None = None,
                 sdd_weighting: str = 'all',
                 prediction: str = 'student') -> None:
        super().__init__()
        self.prediction = one_of('prediction', prediction, PREDICTIONS)
        self.weighting = one_of('sdd_weighting', sdd_weighting, WEIGHTINGS)
        if sdd_regions is None:
            sdd_regions = dict(map=dict(), box=dict())
        if not isinstance(sdd_regions, dict) or all(
                changes is None for changes in sdd_regions.values()):
            raise ConfigTypeError('sdd_regions must be a dict such as '
                                  f'dict(map=dict(), box=dict()), found '
                                  f'{sdd_regions!r}')
        self.losses = ModuleDict({
            kind: _build(kind, loss_sdd, changes)
            for kind, changes in sdd_regions.items()
            if changes is not None or kind not in REGIONS.module_dict
        })
        self._warned: set[str] = set()

    @property
    def needs(self) -> Needs:
        return Needs(frozenset({'cls'}), self.prediction == 'cross_head')

    @property
    def needs_now(self) -> Needs:
        if any(self._counts(kind, loss) for kind, loss in self.losses.items()):
            return self.needs
        return Needs()

    @property
    def method(self) -> str:
        return ('SDD of cross-head predictions'
                if self.prediction == 'cross_head' else 'SDD')

    @property
    def weights(self) -> dict[str, float]:
        return {f'loss_sdd_{kind}': float(loss.loss_weight)
                for kind, loss in self.losses.items()}

    @property
    def schedules(self) -> dict[str, Schedule]:
        return {f'loss_sdd_{kind}': LinearWarmup(loss.warmup_iters)
                for kind, loss in self.losses.items() if loss.warmup_iters}

    def check(self, pair: Pair) -> None:
        """Check that logit maps have the same layout, and enough classes."""
        pair = dense(pair)
        if self.prediction == 'student':
            pair.check_priors_per_location()
        for kind, loss in self.losses.items():
            if loss.base in SOFTMAX_BASES and pair.num_classes < 2:
                raise ConfigValueError(
                    f'kd_cfg.loss_sdd: base {loss.base!r} compares classes '
                    'with each other, but there is only one class '
                    f"({kind} regions); use 'bernoulli' or 'qfl'")

    def forward(self, paired: DensePass) -> Losses:
        losses: Losses = {}
        for kind, loss in self.losses.items():
            if not self._counts(kind, loss):
                losses[f'loss_sdd_{kind}'] = self.nothing(loss, paired)
                continue
            maps = REGIONS.module_dict[kind](paired, self.prediction)
            self._warn_of_scales(kind, max(loss.scales), max(
                min(m.teacher.shape[2:]) for m in maps))
            totals, count = loss.sums(
                maps, [m.confidence for m in maps]
                if self.weighting == 'confidence' else None)
            # all levels share one divisor
            losses[f'loss_sdd_{kind}'] = list(
                (loss.loss_weight * totals /
                 at_least_one_of(reduce_mean(count))).unbind())
        return losses

    def _counts(self, kind: str, loss: SDDLoss) -> bool:
        return self.counts(f'loss_sdd_{kind}', loss,
                           f'loss_sdd ({kind} regions)')

    def _warn_of_scales(self, kind: str, finest: int, side: int) -> None:
        # not an error: the next batch may have larger images
        if finest > side and kind not in self._warned:
            self._warned.add(kind)
            print_log(
                f'kd_cfg.loss_sdd: scale {finest} is left out, because it is '
                f'finer than every {kind} region of this batch (the shorter '
                f'side has at most {side} locations)',
                logger='current',
                level=logging.WARNING)


def _build(kind: str, common: dict, changes: object) -> SDDLoss:
    """The loss of a kind of region."""
    check_known('sdd_regions', kind, REGIONS.module_dict)
    if not isinstance(changes, dict):
        raise ConfigTypeError(
            f'sdd_regions.{kind} must be a dict of changes to loss_sdd, '
            f'found {changes!r}')
    key, cfg = 'loss_sdd', common
    if changes and isinstance(common, dict):
        key, cfg = f'sdd_regions.{kind}', {**common, **changes}
    loss = build_loss(key, cfg, ('regions', ))
    if not isinstance(loss, SDDLoss):  # its grids and sums are used
        raise ConfigTypeError(f'{key}: expected an SDDLoss or a subclass, '
                              f'found {type(loss).__name__}')
    points = getattr(REGIONS.module_dict[kind], 'points', None)
    if points is not None and max(loss.scales) > points:
        raise ConfigValueError(
            f'{key}: scales: {max(loss.scales)} does not fit {kind} '
            f'regions, which are sampled at {points}×{points} points; set '
            f'sdd_regions.{kind}.scales, or leave these regions out '
            f'(sdd_regions.{kind}=None)')
    return loss
