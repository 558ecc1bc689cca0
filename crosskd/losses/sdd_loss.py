"""Scale decoupled distillation of logit maps (SDD)."""
from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from mmengine.logging import MessageHub
from torch import Tensor, nn

from ..arguments import check_number
from ..numerics.precision import at_least_float32
from .sdd_bases import BASES, SOFTMAX_BASES, base_loss

# The published method pools to this grid first; its divisors come from it.
GRID = 4


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
    ``m × m`` cells for every ``m`` in ``scales``, and every cell is a
    distillation of its own.  Cells that contradict the teacher's global
    prediction are *complementary* and weigh ``complementary_weight``.

    With ``labels``, a cell is complementary where exactly one of the teacher's
    global class and the teacher's class of the cell is the label; without,
    where the two differ (and the global class stands in for the label in
    'dkd' and 'nkd').

    Args:
        student_logits: (B, K, H, W) logits that learn.
        teacher_logits: (B, K, H, W); no gradient flows into them.
        labels: (B, ) classes.
        base: 'kd', 'dkd' or 'nkd' on softmax scores, 'bernoulli' or 'qfl' on
            sigmoid scores.
        scales: cells a side of the grids; each at most H and W.
        temperature: > 0.
        alpha, beta: weights of target and non-target classes in 'dkd'.
        gamma: weight of the second term of 'nkd'.
        complementary_weight: >= 0; consistent cells weigh 1.

    Returns:
        Tensor: scalar, the weighted sum over all cells of all images divided
        by their number.

    Raises:
        TypeError, ValueError: a parameter is out of its range, a scale is
            larger than the map, or shapes or labels do not fit.
    """
    loss = SDDLoss(base, scales, temperature, alpha, beta, gamma,
                   complementary_weight)
    total, count = loss.sums(student_logits, teacher_logits, labels)
    return total / at_least_one_of(count)


@MODELS.register_module()
class SDDLoss(nn.Module):
    """Scale decoupled distillation of logit maps, for ``loss_sdd``.

    The module of :func:`sdd_loss` (Wei et al., CVPR 2024, arXiv 2403.13512),
    which also takes weights and masks of locations.

    Example config: ``loss_sdd=dict(type='SDDLoss', base='bernoulli',
    scales=(1, 2, 4), temperature=1.0, loss_weight=1.0)``.

    Args:
        base, scales, temperature, alpha, beta, gamma, complementary_weight:
            as in :func:`sdd_loss`.
        label_free: whether labels are ignored when deciding which cells are
            complementary.
        warmup_iters: the weight grows linearly over so many iterations of the
            run.  mmengine's Runner counts them, also when it resumes.
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: a parameter is of another type or out of its
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
            raise ValueError(f'{name}: base must be one of {BASES}, '
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
            raise TypeError(f'{name}: label_free must be True or False, found '
                            f'{label_free!r}')
        self.label_free = label_free
        if not isinstance(warmup_iters, int):
            raise TypeError(f'{name}: warmup_iters must be an integer, found '
                            f'{warmup_iters!r}')
        self.warmup_iters = check_number(name, 'warmup_iters', warmup_iters, 0)
        self.loss_weight = check_number(name, 'loss_weight', loss_weight, 0)
        # a Runner makes its hub before its model
        self._hub = MessageHub.get_current_instance().instance_name

    def forward(self,
                student: Tensor,
                teacher: Tensor,
                labels: Tensor | None = None,
                weight: Tensor | None = None,
                mask: Tensor | None = None) -> Tensor:
        """Loss of (B, K, H, W) maps; arguments as in :meth:`sums`.

        Returns:
            Tensor: scalar, the mean over cells by their weight; in distributed
            training over the cells of all ranks.
        """
        total, count = self.sums(student, teacher, labels, weight, mask)
        return self.factor() * total / at_least_one_of(reduce_mean(count))

    def factor(self) -> float:
        """``loss_weight``, or the part of it that the warm-up has reached."""
        done = None
        if MessageHub.check_instance_created(self._hub):  # in this process
            done = MessageHub.get_instance(self._hub).get_info('iter')
        if done is None:  # built before its Runner
            done = MessageHub.get_current_instance().get_info('iter')
        # without a Runner nobody counts, and there is nothing to warm up
        if done is None or not self.warmup_iters:
            return self.loss_weight
        return self.loss_weight * min((done + 1) / self.warmup_iters, 1.0)

    def sums(self,
             student: Tensor,
             teacher: Tensor,
             labels: Tensor | None = None,
             weight: Tensor | None = None,
             mask: Tensor | None = None,
             scales: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """The loss before it is divided: a sum, and what divides it.

        Args:
            student: (B, K, H, W) logits that learn.
            teacher: (B, K, H, W) logits; no gradient flows into them.
            labels: (B, ) classes.
            weight: (B, H, W), how much each location counts; a cell counts
                their mean.
            mask: (B, H, W), bool; the grids are laid over the bounding box of
                what is True, and what is False does not count.
            scales: used instead of the module's.

        Returns:
            tuple: the weighted sum over cells and the sum of their weights
            (complementary or not), scalars in float32 at least.

        Raises:
            ValueError: shapes, labels or scales do not fit.
        """
        scales = self.scales if scales is None else scales
        _check_maps(self.base, scales, student, teacher, labels, weight, mask)
        with torch.autocast(student.device.type, enabled=False):
            student = at_least_float32(student)
            if mask is None:
                mask = torch.ones_like(student[:, 0])
            if weight is None:
                weight = torch.ones_like(student[:, 0])
            mask, weight, teacher = (
                x.to(student.dtype) for x in (mask, weight, teacher))
            s, inside = _cells(student, mask, scales)
            with torch.no_grad():
                everywhere_and_t, _ = _cells(teacher, mask, [1, *scales])
                t = everywhere_and_t[:, 1:]
                global_class = everywhere_and_t[:, :1].argmax(-1)
                w = inside * _cells(weight.unsqueeze(1), mask,
                                    scales)[0].squeeze(-1)
                target, complementary = self._read(
                    t.argmax(-1), global_class, labels)
                factor = torch.where(complementary, self.complementary_weight,
                                     1.0)
            loss = base_loss(self.base, s.flatten(0, 1), t.flatten(0, 1),
                             target.expand(w.shape).flatten(),
                             **self.parameters_of_base).view_as(w)
            return (w * factor * loss).sum(), w.sum()

    def _read(self, cell_class: Tensor, global_class: Tensor,
              labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Target classes (B, 1) and which cells are complementary (B, n)."""
        if labels is None:
            return global_class, cell_class != global_class
        label = labels.long().unsqueeze(1)
        if self.label_free:
            return label, cell_class != global_class
        return label, (cell_class == label) != (global_class == label)


def at_least_one_of(count: Tensor) -> Tensor:
    """``count``, or 1 where it is 0: a sum over nothing stays 0."""
    return torch.where(count > 0, count, torch.ones_like(count))


def _cells(maps: Tensor, mask: Tensor,
           scales: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Means over the cells of every scale's grid.

    Args:
        maps: (B, C, H, W).
        mask: (B, H, W), in the type of the maps.
        scales: cells a side.

    Returns:
        tuple: (B, sum of m², C) means and (B, sum of m²), bool, which cells
        have anything inside.
    """
    rows, columns = mask.amax(2) > 0, mask.amax(1) > 0
    side = torch.minimum(_extent(rows)[1], _extent(columns)[1])
    # nothing yet, but with a graph that leads to the maps
    means = [maps.flatten(2).transpose(1, 2)[:, :0]]
    inside = [mask.new_zeros(len(maps), 0).bool()]
    fine = {m: _pool(maps, mask, m)
            for m in {GRID if GRID % m == 0 else m for m in scales}}
    for m in scales:
        mean, covered = fine[m] if m in fine else _coarsen(*fine[GRID], m)
        means.append(mean.flatten(2).transpose(1, 2))
        # an image with less than m locations a side has no such grid
        inside.append(covered.flatten(1) & (side >= m).unsqueeze(1))
    return torch.cat(means, 1), torch.cat(inside, 1)


def _pool(maps: Tensor, mask: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """(B, C, m, m) means over cells, and (B, m, m) which have an inside."""
    rows = _bins(mask.amax(2) > 0, m).to(maps.dtype)
    columns = _bins(mask.amax(1) > 0, m).to(maps.dtype)

    def total(x: Tensor) -> Tensor:
        return rows.unsqueeze(1) @ x @ columns.transpose(1, 2).unsqueeze(1)

    mask = mask.unsqueeze(1)
    area = total(mask)
    return total(maps * mask) / at_least_one_of(area), area.squeeze(1) > 0


def _bins(used: Tensor, m: int) -> Tensor:
    """Which of (B, n) positions belong to which of m bins: (B, m, n), bool.

    The bins are those of adaptive pooling, laid over the extent of what is
    used.
    """
    start, length = (x.unsqueeze(1) for x in _extent(used))
    index = torch.arange(m, device=used.device)
    low = start + index * length // m
    high = start + ((index + 1) * length + m - 1) // m
    position = torch.arange(used.size(1), device=used.device)
    return (position >= low.unsqueeze(2)) & (position < high.unsqueeze(2))


def _extent(used: Tensor) -> tuple[Tensor, Tensor]:
    """First used position and extent of (B, n) positions: (B, ) each."""
    n = used.size(1)
    position = torch.arange(n, device=used.device)
    start = torch.where(used, position, n).amin(1)
    end = torch.where(used, position + 1, 0).amax(1)
    return start, (end - start).clamp(min=0)


def _coarsen(mean: Tensor, covered: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Means of the covered cells of a finer grid."""
    b, c = mean.shape[:2]
    step = GRID // m
    part = covered.to(mean.dtype).view(b, 1, m, step, m, step)
    count = part.sum((3, 5))
    total = (mean.view(b, c, m, step, m, step) * part).sum((3, 5))
    return total / at_least_one_of(count), count.squeeze(1) > 0


def _check_scales(owner: str, scales: Sequence[int]) -> tuple[int, ...]:
    fine = isinstance(scales, (tuple, list)) and len(scales) > 0 and all(
        isinstance(m, int) and not isinstance(m, bool) and m > 0
        for m in scales)
    if not fine or len(set(scales)) < len(scales):
        raise ValueError(f'{owner}: scales must be different positive '
                         f'integers, found {scales!r}')
    return tuple(scales)


def _check_maps(base: str, scales: Sequence[int], student: Tensor,
                teacher: Tensor, labels: Tensor | None,
                weight: Tensor | None, mask: Tensor | None) -> None:
    if student.dim() != 4 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher logits must be of one shape (B, K, H, W), '
            f'found {tuple(student.shape)} and {tuple(teacher.shape)}')
    b, classes, *size = student.shape
    if max(scales, default=0) > min(size):
        raise ValueError(f'scales: {max(scales)} does not fit logit maps of '
                         f'{size[0]}×{size[1]}; expected {min(size)} at most')
    if base in SOFTMAX_BASES and classes < 2:
        raise ValueError(f'base {base!r} compares classes with each other; '
                         f'expected at least 2, found {classes}')
    if labels is not None:
        if labels.shape != (b, ):
            raise ValueError(f'labels must be of shape ({b}, ), found '
                             f'{tuple(labels.shape)}')
        if b and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(f'labels must be between 0 and {classes - 1}, '
                             f'found {labels.min()} to {labels.max()}')
    for key, value in (('weight', weight), ('mask', mask)):
        if value is not None and value.shape != (b, *size):
            raise ValueError(f'{key} must be of shape {(b, *size)}, found '
                             f'{tuple(value.shape)}')
