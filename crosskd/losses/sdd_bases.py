"""Base losses of SDD: each compares the two logit vectors of one cell.

Each takes (n, K) logits that learn, (n, K) logits of a teacher that get no
gradient, and (n, ) target classes, and returns (n, ) losses.
"""
import torch.nn.functional as F
from torch import Tensor

from .kd_quality_focal_loss import kd_quality_focal_loss
from .kl_div_loss import kl_div_loss

SOFTMAX_BASES = ('kd', 'dkd', 'nkd')
BINARY_BASES = ('bernoulli', 'qfl')
BASES = SOFTMAX_BASES + BINARY_BASES

# Stands for minus infinity; the difference of two is 0 instead of NaN.
EXCLUDED = -1e9


def base_loss(base: str, student: Tensor, teacher: Tensor, target: Tensor,
              temperature: float, alpha: float, beta: float,
              gamma: float) -> Tensor:
    """The base loss of that name.

    Args:
        base: one of ``BASES``.
        student, teacher: (n, K) logits.
        target: (n, ) target classes; only 'dkd' and 'nkd' use them.
        temperature: T > 0.
        alpha, beta: weights in 'dkd' of the target class and of the others.
        gamma: weight of the second term of 'nkd'.

    Returns:
        Tensor: (n, ).
    """
    if base == 'kd':
        return kl_div_loss(student, teacher, temperature)
    if base == 'dkd':
        return decoupled_kd(student, teacher, target, temperature, alpha, beta)
    if base == 'nkd':
        return normalized_kd(student, teacher, target, temperature, gamma)
    if base == 'bernoulli':
        return bernoulli_kl(student, teacher, temperature)
    return temperature**2 * kd_quality_focal_loss(student / temperature,
                                                  teacher / temperature)


def decoupled_kd(student: Tensor, teacher: Tensor, target: Tensor,
                 temperature: float, alpha: float, beta: float) -> Tensor:
    """DKD (Zhao et al., arXiv 2203.08679, equation 7), times ``T²``.

    ``alpha`` times the KL divergence of (target class, all others) plus
    ``beta`` times that among the others.
    """
    student, teacher = student / temperature, teacher / temperature
    (log_q, log_rest_q), (log_p, log_rest_p) = (
        _target_and_rest(x, target) for x in (student, teacher))
    of_target = log_p.exp() * (log_p - log_q) + log_rest_p.exp() * (
        log_rest_p - log_rest_q)
    among_others = kl_div_loss(
        _without(student, target), _without(teacher, target))
    return temperature**2 * (alpha * of_target + beta * among_others)


def normalized_kd(student: Tensor, teacher: Tensor, target: Tensor,
                  temperature: float, gamma: float) -> Tensor:
    """NKD (Yang et al., arXiv 2303.13005, equation 9), as SDD uses it.

    Cross-entropy of the target class with the teacher's score for it, without
    temperature, plus ``gamma T²`` times a cross-entropy with the teacher's
    scores at temperature T.  In the paper, the second term covers only the
    other classes, renormalised; SDD's reference figures agree only if it
    covers all classes.
    """
    of_target = -(F.softmax(teacher, -1) * F.log_softmax(student, -1)).gather(
        -1, target.unsqueeze(-1)).squeeze(-1)
    p = F.softmax(teacher / temperature, -1)
    log_q = F.log_softmax(student / temperature, -1)
    return of_target - gamma * temperature**2 * (p * log_q).sum(-1)


def bernoulli_kl(student: Tensor, teacher: Tensor,
                 temperature: float) -> Tensor:
    """KL divergence of each class's sigmoid score, summed, times ``T²``.

    For heads with sigmoid scores, whose classes do not compete.
    """
    student, teacher = student / temperature, teacher / temperature

    def answer(sign: int) -> Tensor:
        log_p = F.logsigmoid(sign * teacher)
        return log_p.exp() * (log_p - F.logsigmoid(sign * student))

    return temperature**2 * (answer(1) + answer(-1)).sum(-1)


def _without(logits: Tensor, target: Tensor) -> Tensor:
    """Logits, with the target class at (about) minus infinity."""
    return logits.scatter(-1, target.unsqueeze(-1), EXCLUDED)


def _target_and_rest(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the target class and of all others together."""
    everything = logits.logsumexp(-1)
    of_target = logits.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    rest = _without(logits, target).logsumexp(-1)
    return of_target - everything, rest - everything
