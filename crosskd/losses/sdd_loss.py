"""Scale decoupled distillation of logit maps (SDD)."""
from collections.abc import Sequence
from itertools import groupby

import torch
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ..arguments import check_number
from ..errors import ConfigTypeError, ConfigValueError
from ..numerics.precision import at_least_float32
from .logit_maps import LogitMaps
from .sdd_bases import BASES, SOFTMAX_BASES, base_loss
from .sdd_grids import lay_grids


def sdd_loss(student_logits: Tensor,
             teacher_logits: Tensor,
             labels: Tensor | None = None,
             base: str = 'kd',
             scales: Sequence[int] = (1, 2, 4),
             temperature: float = 4.0,
             alpha: float = 1.0,
             beta: float = 8.0,
             gamma: float = 1.5,
             complementary_weight: float = 2.0) -> Tensor:
    """Distil logit maps cell by cell, at several scales.

    Wei et al., CVPR 2024, arXiv 2403.13512.  The maps are average-pooled to
    ``m × m`` cells for each ``m`` in ``scales``, and each cell is distilled
    separately.  Cells that contradict the teacher's global prediction are
    *complementary* and have the weight ``complementary_weight``.

    With ``labels``, a cell is complementary if exactly one of two classes is
    the label: the teacher's global class, and the teacher's class of the
    cell.  Without labels, it is complementary if the two classes differ; 'dkd'
    and 'nkd' then use the global class as the label.

    Args:
        student_logits: (B, K, H, W) logits that learn.
        teacher_logits: (B, K, H, W); no gradient flows into them.
        labels: (B, ) classes.
        base: 'kd', 'dkd' or 'nkd' on softmax scores, 'bernoulli' or 'qfl' on
            sigmoid scores.
        scales: cells per side of the grids; each at most H and W.
        temperature: > 0.
        alpha, beta: weights of target and non-target classes in 'dkd'.
        gamma: weight of the second term of 'nkd'.
        complementary_weight: >= 0; other cells have weight 1.

    Returns:
        Tensor: scalar, the weighted sum over all cells of all images divided
        by their number.

    Raises:
        TypeError, ValueError: a parameter is out of range, a scale is larger
            than the map, or shapes or labels do not fit.
    """
    loss = SDDLoss(base, scales, temperature, alpha, beta, gamma,
                   complementary_weight)
    _check_maps(base, loss.scales, student_logits, teacher_logits, labels)
    total, count = loss.sums(
        [LogitMaps(student_logits, teacher_logits, labels)])
    return total.sum() / at_least_one_of(count)


@MODELS.register_module()
class SDDLoss(nn.Module):
    """Scale decoupled distillation of logit maps, for ``loss_sdd``.

    The module of :func:`sdd_loss` (Wei et al., CVPR 2024, arXiv 2403.13512).
    It also takes weights of locations and extents of images.

    Example config: ``loss_sdd=dict(type='SDDLoss', base='bernoulli',
    scales=(1, 2, 4), temperature=1.0, loss_weight=1.0)``.

    Args:
        base, scales, temperature, alpha, beta, gamma, complementary_weight:
            as in :func:`sdd_loss`.
        label_free: whether labels are ignored when deciding which cells are
            complementary.
        warmup_iters: in a distilled detector, the weight of the loss grows
            linearly over this many iterations of the run
            (:class:`~crosskd.distillers.schedules.LinearWarmup`).
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: a parameter has the wrong type or is out of
            range.
    """

    compares = ('regions', )

    def __init__(self,
                 base: str = 'kd',
                 scales: Sequence[int] = (1, 2, 4),
                 temperature: float = 4.0,
                 alpha: float = 1.0,
                 beta: float = 8.0,
                 gamma: float = 1.5,
                 complementary_weight: float = 2.0,
                 label_free: bool = False,
                 warmup_iters: int = 0,
                 loss_weight: float = 1.0) -> None:
        super().__init__()
        name = type(self).__name__
        if base not in BASES:
            raise ConfigValueError(f'{name}: base must be one of {BASES}, '
                                   f'found {base!r}')
        self.base = base
        self.scales = _check_scales(name, scales)
        self.parameters_of_base = dict(
            temperature=check_number(
                name, 'temperature', temperature, 0, inclusive=False),
            alpha=check_number(name, 'alpha', alpha, 0),
            beta=check_number(name, 'beta', beta, 0),
            gamma=check_number(name, 'gamma', gamma, 0))
        self.complementary_weight = check_number(
            name, 'complementary_weight', complementary_weight, 0)
        if not isinstance(label_free, bool):
            raise ConfigTypeError(
                f'{name}: label_free must be True or False, found '
                f'{label_free!r}')
        self.label_free = label_free
        if not isinstance(warmup_iters, int):
            raise ConfigTypeError(
                f'{name}: warmup_iters must be an integer, found '
                f'{warmup_iters!r}')
        self.warmup_iters = check_number(name, 'warmup_iters', warmup_iters, 0)
        self.loss_weight = check_number(name, 'loss_weight', loss_weight, 0)

    def forward(self,
                student: Tensor,
                teacher: Tensor,
                labels: Tensor | None = None,
                weight: Tensor | None = None,
                extents: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """Loss of (B, K, H, W) maps.

        Args:
            student: (B, K, H, W) logits that learn.
            teacher: (B, K, H, W) logits; no gradient flows into them.
            labels: (B, ) classes.
            weight: (B, H, W), how much each location counts; a cell has the
                mean weight of its locations.
            extents: for each map, the height and width of the part that
                counts, in locations from the first.  The grids cover that
                part.

        Returns:
            Tensor: scalar, the weighted mean over cells; in distributed
            training, over the cells of all processes.

        Raises:
            ValueError: shapes, labels or scales do not fit.
        """
        _check_maps(self.base, self.scales, student, teacher, labels, weight,
                    extents)
        total, count = self.sums(
            [LogitMaps(student, teacher, labels, extents)],
            None if weight is None else [weight])
        return self.loss_weight * total.sum() / at_least_one_of(
            reduce_mean(count))

    def sums(self,
             maps: Sequence[LogitMaps],
             weights: Sequence[Tensor] | None = None
             ) -> tuple[Tensor, Tensor]:
        """Sums over cells, and the number to divide them by.

        Scales that are finer than a map are left out for it.

        Args:
            maps: regions of one or several sizes.
            weights: for each region (B, H, W), how much each location counts;
                a cell has the mean weight of its locations.

        Returns:
            tuple: (L, ) weighted sums over cells, one for each of ``maps``
            unless their ``shares`` say more; and the sum of the weights
            (complementary or not) of all cells.  In float32 at least.
        """
        with torch.autocast(maps[0].student.device.type, enabled=False):
            found = [
                self._sums_of([maps[i] for i in alike],
                              weights and [weights[i] for i in alike])
                for alike in _of_one_layout(maps)
            ]
            totals, counts = zip(*found)
            if len(found) == 1:
                return totals[0], counts[0]
            return torch.cat(totals), torch.stack(counts).sum()

    def _sums_of(self, maps: Sequence[LogitMaps],
                 weights: Sequence[Tensor] | None) -> tuple[Tensor, Tensor]:
        """As :meth:`sums`, for maps of one layout."""
        first = maps[0]
        regions, classes = first.student.shape[:2]
        students = [at_least_float32(m.student) for m in maps]
        dtype, device = students[0].dtype, students[0].device
        sizes = tuple((m.student.size(2), m.student.size(3)) for m in maps)
        grids = lay_grids(
            sizes,
            tuple((size, ) if m.extents is None else tuple(
                map(tuple, m.extents)) for m, size in zip(maps, sizes)),
            self.scales, dtype, device)
        s = grids.means(students)
        with torch.no_grad():
            t = grids.means([m.teacher.to(dtype) for m in maps])
            images, cells = t.shape[:2]
            shape = images, cells, regions // images, classes
            t = t.view(shape)
            w = grids.exists.expand(shape[:3])
            if weights is not None:
                w = w * grids.means([x.to(dtype).unsqueeze(1)
                                     for x in weights])
            cell_class = t.argmax(-1)
            target, complementary = self._read(
                cell_class, cell_class.index_select(1, grids.first),
                None if first.labels is None else first.labels.long().view(
                    images, 1, shape[2]))
            factor = torch.where(complementary, self.complementary_weight * w,
                                 w)
        loss = base_loss(self.base, s.view(-1, classes), t.view(-1, classes),
                         target.expand(shape[:3]).reshape(-1),
                         **self.parameters_of_base).view(shape[:3])
        if first.shares is None:
            return _shared_out(
                (factor * loss).sum((0, 2)), grids.sizes), w.sum()
        shares = first.shares.to(dtype)
        return (_shared_out((factor * loss).sum(1).flatten(), shares),
                (shares.t() @ w.sum(1).flatten()).sum())

    def _read(self, cell_class: Tensor, global_class: Tensor,
              labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Target classes, and which cells are complementary."""
        if labels is None:
            return global_class, cell_class != global_class
        if self.label_free:
            return labels, cell_class != global_class
        return labels, (cell_class == labels) != (global_class == labels)


def _shared_out(values: Tensor, shares: Tensor) -> Tensor:
    """Sums of (n, ) values, weighted by their (n, L) shares: (L, ).

    Not a matrix product: a NaN must not reach sums in which it has no share.
    """
    shares = shares.t()
    return torch.where(shares > 0, shares * values, 0).sum(1)


def at_least_one_of(count: Tensor) -> Tensor:
    """``count``, or 1 if it is 0, so that a sum over nothing stays 0."""
    return count + (count <= 0)


def _of_one_layout(maps: Sequence[LogitMaps]) -> list[list[int]]:
    """Indices of maps, grouped by what can be computed at once, in order."""

    def key(i: int) -> tuple:
        m = maps[i]
        alone = m.labels is not None or m.shares is not None
        return (i if alone else None, m.student.shape[:2],
                None if m.extents is None else len(m.extents))

    return [list(group) for _, group in groupby(range(len(maps)), key)]


def _check_scales(owner: str, scales: Sequence[int]) -> tuple[int, ...]:
    fine = isinstance(scales, (tuple, list)) and len(scales) > 0 and all(
        isinstance(m, int) and not isinstance(m, bool) and m > 0
        for m in scales)
    if not fine or len(set(scales)) < len(scales):
        raise ConfigValueError(f'{owner}: scales must be different positive '
                               f'integers, found {scales!r}')
    return tuple(scales)


def _check_maps(base: str, scales: Sequence[int], student: Tensor,
                teacher: Tensor, labels: Tensor | None,
                weight: Tensor | None = None,
                extents: Sequence[tuple[int, int]] | None = None) -> None:
    if student.dim() != 4 or student.shape != teacher.shape:
        raise ConfigValueError(
            'student and teacher logits must have one shape (B, K, H, W), '
            f'found {tuple(student.shape)} and {tuple(teacher.shape)}')
    b, classes, *size = student.shape
    if max(scales, default=0) > min(size):
        raise ConfigValueError(
            f'scales: {max(scales)} does not fit logit maps of '
            f'{size[0]}×{size[1]}; expected {min(size)} at most')
    if base in SOFTMAX_BASES and classes < 2:
        raise ConfigValueError(
            f'base {base!r} compares classes with each other; '
            f'expected at least 2 classes, found {classes}')
    if labels is not None:
        if labels.shape != (b, ):
            raise ConfigValueError(f'labels must have shape ({b}, ), found '
                                   f'{tuple(labels.shape)}')
        if b and not 0 <= labels.min() <= labels.max() < classes:
            raise ConfigValueError(
                f'labels must be between 0 and {classes - 1}, '
                f'found {labels.min()} to {labels.max()}')
    if weight is not None and weight.shape != (b, *size):
        raise ConfigValueError(f'weight must have shape {(b, *size)}, found '
                               f'{tuple(weight.shape)}')
    if extents is not None and len(extents) != b:
        raise ConfigValueError(
            f'extents must be a (height, width) for each of '
            f'{b} maps, found {extents!r}')
