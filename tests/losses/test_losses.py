"""Distillation losses against float64 loops written from the formulas."""
import math

import pytest
import torch
from mmdet.models.losses import (
    KnowledgeDistillationKLDivLoss as MMDetKLDivLoss,
)
from mmdet.registry import MODELS

from crosskd.losses import (
    KDQualityFocalLoss,
    KnowledgeDistillationKLDivLoss,
    PKDLoss,
    kd_quality_focal_loss,
    kl_div_loss,
    pkd_loss,
)
from crosskd.losses.building import build_loss

pytestmark = pytest.mark.torch_only


def random(*shape, seed=0, scale=2.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=rng, dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def qfl_by_hand(x, t, beta):
    out = []
    for row_x, row_t in zip(x.tolist(), t.tolist()):
        loss = 0.0
        for a, b in zip(row_x, row_t):
            p, q = sigmoid(a), sigmoid(b)
            bce = -q * math.log(p) - (1 - q) * math.log(1 - p)
            loss += abs(p - q)**beta * bce
        out.append(loss)
    return torch.tensor(out, dtype=torch.float64)


def kl_by_hand(x, t, temperature):
    out = []
    for row_x, row_t in zip(x.tolist(), t.tolist()):
        zx = sum(math.exp(a / temperature) for a in row_x)
        zt = sum(math.exp(b / temperature) for b in row_t)
        out.append(temperature**2 * sum(
            math.exp(b / temperature) / zt *
            ((b / temperature - math.log(zt)) -
             (a / temperature - math.log(zx)))
            for a, b in zip(row_x, row_t)))
    return torch.tensor(out, dtype=torch.float64)


def pkd_by_hand(x, t):
    n, c, h, w = x.shape
    total = 0.0
    for channel in range(c):
        columns = []
        for f in (x, t):
            values = f[:, channel].flatten().tolist()
            mean = sum(values) / len(values)
            var = sum((v - mean)**2 for v in values) / (len(values) - 1)
            columns.append([(v - mean) / (math.sqrt(var) + 1e-6)
                            for v in values])
        total += sum((a - b)**2 for a, b in zip(*columns))
    return total / (n * c * h * w) / 2


@pytest.mark.parametrize('beta', [0, 0.5, 1, 2.5])
def test_quality_focal_loss_is_its_formula(beta):
    x, t = random(5, 4), random(5, 4, seed=1)
    torch.testing.assert_close(
        kd_quality_focal_loss(x, t, beta), qfl_by_hand(x, t, beta))


@pytest.mark.parametrize('beta', [0, 0.5, 1, 2, 3])
def test_slope_of_quality_focal_loss_is_that_of_its_formula(beta):
    """As autograd has it of the formula, in float64."""
    x, t = random(50, 4).requires_grad_(), random(50, 4, seed=1)
    p, q = x.sigmoid(), t.sigmoid()
    formula = (p - q).abs()**beta * -(q * p.log() + (1 - q) * (1 - p).log())
    weight = random(50, seed=2)
    found, expected = (
        torch.autograd.grad((rows * weight).sum(), x)[0] for rows in (
            kd_quality_focal_loss(x, t, beta), formula.sum(-1)))
    assert found.abs().min() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('temperature', [0.5, 1, 4, 10])
@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_kl_is_its_formula(temperature, reduction):
    x, t = random(5, 7), random(5, 7, seed=1)
    expected = kl_by_hand(x, t, temperature)
    if reduction == 'mean':
        expected = expected / 7
    torch.testing.assert_close(
        kl_div_loss(x, t, temperature, reduction), expected)


def test_pkd_is_its_formula():
    x, t = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1, scale=5)
    assert float(pkd_loss(x, t)) == pytest.approx(pkd_by_hand(x, t), rel=1e-9)


def test_pkd_depends_on_correlation_alone():
    x, t = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    torch.testing.assert_close(
        pkd_loss(3 * x + 7, 0.5 * t - 2), pkd_loss(x, t), rtol=1e-4, atol=0)


@pytest.mark.parametrize('loss', [
    lambda x, t: kd_quality_focal_loss(x, t, 1.0),
    lambda x, t: kl_div_loss(x, t, 2.0)
])
def test_gradients_of_logit_losses(loss):
    x, t = random(3, 4).requires_grad_(), random(3, 4, seed=1)
    assert torch.autograd.gradcheck(lambda x: loss(x, t), x)


def test_gradient_of_pkd():
    x, t = random(2, 2, 2, 3).requires_grad_(), random(2, 2, 2, 3, seed=1)
    assert torch.autograd.gradcheck(lambda x: pkd_loss(x, t), x)


@pytest.mark.parametrize(
    'loss', [kd_quality_focal_loss, kl_div_loss,
             lambda x, t: pkd_loss(x[:, :, None, None], t[:, :, None, None])])
def test_teacher_gets_no_gradient_and_equality_costs_nothing(loss):
    x, t = random(3, 4).requires_grad_(), random(3, 4, seed=1)
    t.requires_grad_()
    for beta in (0, 0.5):
        root = kd_quality_focal_loss(x, x.detach().clone(), beta).sum()
        assert torch.autograd.grad(root, x)[0].isfinite().all()
    loss(x, t).sum().backward()
    assert t.grad is None and x.grad.abs().sum() > 0
    if loss is not kd_quality_focal_loss:  # whose BCE has the entropy in it
        assert float(loss(x, x.detach()).sum()) == pytest.approx(0, abs=1e-12)
    x.grad = None
    loss(x, x.detach().clone()).sum().backward()
    assert float(x.grad.abs().sum()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize('loss', [
    kd_quality_focal_loss, kl_div_loss,
    lambda x, t: pkd_loss(x[:, :, None, None], t[:, :, None, None])])
def test_second_derivatives_are_refused(loss):
    """Their gradients are made by hand, and have none."""
    x, t = random(5, 4).requires_grad_(), random(5, 4, seed=1)
    root = loss(x, t).square().sum()
    slope, = torch.autograd.grad(root, x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        slope.square().sum().backward()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('loss', [kd_quality_focal_loss, kl_div_loss])
def test_half_precision_is_computed_in_float32(loss, dtype):
    x = random(3, 4, scale=1e4).to(dtype).requires_grad_()
    out = loss(x, random(3, 4, seed=1, scale=1e4).to(dtype))
    assert out.dtype == torch.float32 and out.isfinite().all()
    out.sum().backward()
    assert x.grad.isfinite().all()


def test_modules_weigh_and_average_like_mmdet():
    x, t = random(4, 3), random(4, 3, seed=1)
    weight = torch.tensor([0.0, 1.0, 2.0, 0.5], dtype=torch.float64)
    for module, function in (
        (KDQualityFocalLoss(loss_weight=3.0), kd_quality_focal_loss),
        (KnowledgeDistillationKLDivLoss('sum', loss_weight=3.0, T=1),
         kl_div_loss)):
        expected = 3 * (function(x, t) * weight).sum() / 7
        torch.testing.assert_close(
            module(x, t, weight, avg_factor=7), expected, rtol=1e-6, atol=0)


def test_kl_without_class_reduction_is_mmdets():
    x, t = random(4, 9), random(4, 9, seed=1)
    ours = MODELS.build(
        dict(type='KnowledgeDistillationKLDivLoss', T=10, loss_weight=0.25))
    assert type(ours) is KnowledgeDistillationKLDivLoss
    theirs = MMDetKLDivLoss(T=10, loss_weight=0.25)
    torch.testing.assert_close(ours(x, t), theirs(x, t))
    torch.testing.assert_close(
        KnowledgeDistillationKLDivLoss()(x, t), MMDetKLDivLoss()(x, t))
    torch.testing.assert_close(
        ours(x, t, reduction_override='none'),
        theirs(x, t, reduction_override='none'))


@pytest.mark.parametrize('cfg, word', [
    (dict(type='KDQualityFocalLoss', beta=-0.5), 'beta'),
    (dict(type='KDQualityFocalLoss', loss_weight=-0.5), 'loss_weight'),
    (dict(type='KDQualityFocalLoss', loss_weight=float('nan')), 'loss_weight'),
    (dict(type='KDQualityFocalLoss', loss_weight='1'), 'loss_weight'),
    (dict(type='KnowledgeDistillationKLDivLoss', T=0), 'T must'),
    (dict(type='KnowledgeDistillationKLDivLoss', class_reduction='max'),
     'class_reduction'),
    (dict(type='KnowledgeDistillationKLDivLoss', loss_weight=-0.5),
     'loss_weight'),
    (dict(type='PKDLoss', loss_weight=-0.5), 'loss_weight'),
])
def test_bad_parameters_are_named(cfg, word):
    with pytest.raises((TypeError, ValueError), match=word):
        MODELS.build(cfg)


def test_feature_loss_module():
    x, t = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    torch.testing.assert_close(
        PKDLoss(loss_weight=6.0)(x, t), 6 * pkd_loss(x, t))
    torch.testing.assert_close(PKDLoss()(x, t), pkd_loss(x, t))


def test_the_classification_loss_by_default():
    x, t = random(4, 3), random(4, 3, seed=1)
    for found in (KDQualityFocalLoss()(x, t),
                  kd_quality_focal_loss(x, t).mean()):
        torch.testing.assert_close(found, qfl_by_hand(x, t, 1).mean())


@pytest.mark.parametrize('kind, found', [
    ('PKDLoss', 'features'), ('KnowledgeDistillationKLDivLoss',
                              'logits, bins'),
    ('FocalLoss', 'an unknown form .it has no attribute .compares..')])
def test_a_loss_of_something_else_is_refused(kind, found):
    with pytest.raises(TypeError, match=f'found {kind}, which compares '
                       f'{found}$'):
        build_loss('loss_reg_kd', dict(type=kind), ('boxes', ))


@pytest.mark.parametrize('kind, form, shape', [
    ('KDQualityFocalLoss', 'logits', (3, 4)), ('PKDLoss', 'features',
                                              (2, 3, 4, 5)),
    ('KnowledgeDistillationKLDivLoss', 'bins', (3, 4)),
    ('IoULoss', 'boxes', (3, 4)), ('GIoULoss', 'boxes', (3, 4)),
    ('SDDLoss', 'regions', (2, 3, 4, 4))])
def test_a_weight_may_be_zero_but_not_below(kind, form, shape):
    x, t = random(*shape), random(*shape, seed=1)
    none, half, one = (
        build_loss('loss', dict(type=kind, loss_weight=weight), (form, ))(x, t)
        for weight in (0, 0.5, 1))
    assert none.abs().max() == 0 and one.abs().max() > 0
    torch.testing.assert_close(2 * half, one)
    with pytest.raises(ValueError, match='loss_weight must be'):
        build_loss('loss', dict(type=kind, loss_weight=-0.5), (form, ))
