"""Distilling predictions, location by location."""
from collections.abc import Callable, Sequence

import torch
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ..arguments import one_of
from ..errors import ConfigValueError
from ..losses.building import build_loss
from ..losses.comparing import compared_forms
from ..pairs import DensePair, DensePass, Pair
from ..registry import DISTILLERS
from ..taps import Needs
from .base import PREDICTIONS, Distiller, Losses, dense

PLACES = ('all', 'positives', 'confidence')
#: the output that each loss compares
OUTPUTS = dict(loss_cls_kd='cls', loss_reg_kd='reg',
               loss_center_kd='quality', loss_obj_kd='objectness')
REGRESSION_FORMS = ('boxes', 'encoded', 'bins')


@DISTILLERS.register_module()
class PredictionDistiller(Distiller):
    """Predictions imitate the teacher's at every prior (anchor or point).

    In CrossKD (arXiv 2306.11369, section 3.2) the *cross-head predictions*
    imitate them; in prediction imitation (its equation 1), the student's own.

    Example config: ``dict(type='PredictionDistiller',
    prediction='cross_head', loss_cls_kd=dict(type='KDQualityFocalLoss'),
    loss_reg_kd=dict(type='GIoULoss'))``.

    Args:
        prediction: ``'cross_head'`` or ``'student'``.
        region: which priors count in the classification and regression
            losses (the paper's S(r)): ``'all'`` equally, only the student's
            ``'positives'``, or all weighted by the teacher's
            ``'confidence'``.  Regression is always weighted by confidence.
        loss_cls_kd: config of a loss that compares ``'logits'``.
        loss_reg_kd: config of a loss that compares ``'boxes'``, ``'encoded'``
            boxes or ``'bins'``.
        loss_center_kd: config of a loss that compares ``'scores'``, for the
            quality (centerness, IoU), at the student's positives.
        loss_obj_kd: config of a loss that compares ``'scores'``, for the
            objectness, at all priors.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def __init__(self,
                 prediction: str = 'cross_head',
                 region: str = 'all',
                 loss_cls_kd: dict | None = None,
                 loss_reg_kd: dict | None = None,
                 loss_center_kd: dict | None = None,
                 loss_obj_kd: dict | None = None) -> None:
        super().__init__()
        self.prediction = one_of('prediction', prediction, PREDICTIONS)
        self.region = one_of('region', region, PLACES)
        self.keys: list[str] = []
        for key, cfg, forms in (
                ('loss_cls_kd', loss_cls_kd, ('logits', )),
                ('loss_reg_kd', loss_reg_kd, REGRESSION_FORMS),
                ('loss_center_kd', loss_center_kd, ('scores', )),
                ('loss_obj_kd', loss_obj_kd, ('scores', ))):
            if cfg is not None:
                self.add_module(key, build_loss(key, cfg, forms))
                self.keys.append(key)

    @property
    def needs(self) -> Needs:
        return self._needs_of(self.keys)

    @property
    def needs_now(self) -> Needs:
        return self._needs_of([key for key in self.keys
                               if self.counts(key, getattr(self, key))])

    def _needs_of(self, keys: Sequence[str]) -> Needs:
        return Needs(frozenset(OUTPUTS[key] for key in keys),
                     bool(keys) and self.prediction == 'cross_head')

    @property
    def method(self) -> str:
        return ('CrossKD' if self.prediction == 'cross_head'
                else 'prediction imitation')

    @property
    def form(self) -> str | None:
        """The form in which regression outputs are compared; None if not."""
        loss = getattr(self, 'loss_reg_kd', None)
        if loss is None:
            return None
        return next(f for f in compared_forms(loss) if f in REGRESSION_FORMS)

    def check(self, pair: Pair) -> None:
        """Check that predictions of the two heads can be compared."""
        pair = dense(pair)
        teacher = pair.teacher
        whose = teacher if self.prediction == 'cross_head' else pair.student
        if self.prediction == 'student':
            pair.check_priors_per_location()
        for head in (whose, teacher):
            if self.form is not None and self.form not in head.forms:
                raise ConfigValueError(
                    f'kd_cfg.loss_reg_kd: {type(self.loss_reg_kd).__name__} '
                    f'compares {self.form}, but {head.name} heads predict '
                    'none; use GIoULoss')
            for key, output in OUTPUTS.items():
                if output in self.needs.outputs and output not in head.outputs:
                    raise ConfigValueError(
                        f'kd_cfg.{key}: {head.name} heads have no {output} '
                        f'branch, only {", ".join(head.outputs)}; remove '
                        'this key')
        if self.form == 'bins' and whose.num_bins != teacher.num_bins:
            _differ('reg_max + 1', whose.num_bins, teacher.num_bins)
        if self.prediction == 'student' and self.form in ('bins', 'encoded'):
            self._check_units(pair)

    def _check_units(self, pair: DensePair) -> None:
        """Check that equal numbers mean equal boxes in the two heads."""
        student, teacher = pair.student, pair.teacher
        way_out = 'use GIoULoss, which compares decoded boxes'
        if student.name != teacher.name and self.form == 'encoded':
            _differ('the box coders that kd_cfg.loss_reg_kd compares',
                    student.name, teacher.name, f'; {way_out}')
        if student.name == teacher.name and not pair.same_encoding and (
                self.form == 'bins' or not teacher.can_encode_for(
                    [level for _, level in pair.levels], student)):
            numbers = 'encoded boxes' if self.form == 'encoded' else 'bins'
            raise ConfigValueError(
                'teacher_config does not fit the student: kd_cfg.loss_reg_kd '
                f'compares {numbers}, but the same numbers mean different '
                'boxes in the two heads: their anchors are in different '
                'places, or their box coders or bins have different units '
                f'({type(student.coder).__name__} in the student, '
                f'{type(teacher.coder).__name__} in the teacher); {way_out}')

    def forward(self, paired: DensePass) -> Losses:
        makers: dict[str, Callable[[DensePass], Tensor]] = dict(
            loss_cls_kd=self._classification, loss_reg_kd=self._regression,
            loss_center_kd=self._quality, loss_obj_kd=self._objectness)
        # autocast would decode GFL's boxes, and compare L1 losses, in half
        with torch.autocast(paired.device.type, enabled=False):
            return {key: paired.by_level(makers[key](paired))
                    if self.counts(key, getattr(self, key))
                    else self.nothing(getattr(self, key), paired)
                    for key in self.keys}

    def _classification(self, paired: DensePass) -> Tensor:
        """(N, P) losses."""
        ours, theirs = paired.logits(self.prediction)
        losses = _each(self.loss_cls_kd, ours.flatten(0, 1),
                       theirs.flatten(0, 1), paired.shape)
        weight = self._weight('cls', paired)
        if self.region == 'confidence':
            weight = _product(weight, paired.confidence)
        return _product(weight, losses) / paired.normalizer('cls')

    def _regression(self, paired: DensePass) -> Tensor:
        """(N, P) losses."""
        ours, theirs = paired.regression(self.prediction, str(self.form))
        losses = _each(self.loss_reg_kd, ours, theirs, paired.shape)
        weight = _product(self._weight('reg', paired), paired.confidence)
        losses = weight * losses
        if self.form == 'bins':
            # the mean over the four sides, weighted like all priors
            total = reduce_mean(weight.sum()).clamp(min=1e-6)
            return losses / (4 * total)
        return losses / paired.normalizer('reg')

    def _quality(self, paired: DensePass) -> Tensor:
        """(N, P) losses."""
        losses = self._scores('loss_center_kd', paired)
        return paired.positives('quality') * losses / paired.normalizer(
            'quality')

    def _objectness(self, paired: DensePass) -> Tensor:
        """(N, P) losses."""
        losses = self._scores('loss_obj_kd', paired)
        return _product(paired.weights('objectness'),
                        losses) / paired.normalizer('objectness')

    def _scores(self, key: str, paired: DensePass) -> Tensor:
        ours, theirs = paired.scores(self.prediction, OUTPUTS[key])
        return _each(getattr(self, key), ours.flatten(),
                     theirs.flatten().sigmoid(), paired.shape)

    def _weight(self, term: str, paired: DensePass) -> Tensor | None:
        """(N, P), how much each prior counts before confidence; None: 1."""
        weight = paired.weights(term)
        if self.region == 'positives':
            return _product(weight, paired.positives(term).float())
        return weight


def _product(weight: Tensor | None, values: Tensor) -> Tensor:
    """``values`` times their weight, if there is one."""
    return values if weight is None else weight * values


def _each(loss: nn.Module, ours: Tensor, theirs: Tensor,
          shape: tuple[int, int]) -> Tensor:
    """The loss of each prior: (N, P), which is the shape."""
    rows = loss(ours, theirs, reduction_override='none')
    if rows.shape[:1] != ours.shape[:1]:
        raise ConfigValueError(
            f'kd_cfg: {type(loss).__name__} must return a loss for each of '
            f"{len(ours)} rows with reduction_override='none', found the "
            f'shape {tuple(rows.shape)}')
    each = rows.reshape(*shape, -1)
    return each.squeeze(-1) if each.size(-1) == 1 else each.sum(-1)


def _differ(what: str, ours: object, theirs: object,
            way_out: str = '') -> None:
    raise ConfigValueError(
        f'teacher_config does not fit the student: {what} must be equal, '
        f'found {ours} (student) and {theirs} (teacher){way_out}')
