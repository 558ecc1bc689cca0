"""Alignment of intermediate features."""
import pytest
import torch

from crosskd.numerics.statistics import align_statistics, standardize


def feature(*shape, seed=0, scale=1.0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=rng, dtype=torch.float64)
    return scale * x + shift


def test_result_has_the_teachers_statistics():
    s = feature(2, 3, 5, 4, scale=4, shift=-1)
    t = feature(2, 3, 5, 4, seed=1, scale=0.3, shift=2)
    a = align_statistics(s, t)
    torch.testing.assert_close(a.mean((0, 2, 3)), t.mean((0, 2, 3)))
    torch.testing.assert_close(
        a.std((0, 2, 3)), t.std((0, 2, 3)), rtol=1e-5, atol=0)


def test_is_its_formula():
    s, t = feature(2, 2, 3, 3, scale=2), feature(2, 2, 3, 3, seed=1)
    a = align_statistics(s, t)
    for c in range(2):
        x, y = s[:, c].flatten(), t[:, c].flatten()
        expected = (x - x.mean()) / (x.std() + 1e-6) * y.std() + y.mean()
        torch.testing.assert_close(a[:, c].flatten(), expected)


def test_student_statistics_are_differentiated_through():
    s = feature(2, 2, 3, 2).requires_grad_()
    t = feature(2, 2, 3, 2, seed=1)
    assert torch.autograd.gradcheck(lambda s: align_statistics(s, t), s)
    # so that a shift of the student changes nothing
    weights = feature(2, 2, 3, 2, seed=2)
    (align_statistics(s, t) * weights).sum().backward()
    torch.testing.assert_close(
        s.grad.sum((0, 2, 3)), torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize('s', [
    torch.randn(1, 4, 1, 1),  # a single value has no deviation
    torch.full((2, 4, 3, 3), 5.0),  # a dead channel
    torch.zeros(1, 4, 2, 2)
])
def test_degenerate_features_stay_finite(s):
    s = s.clone().requires_grad_()
    t = torch.randn(s.shape)
    a = align_statistics(s, t)
    a.square().sum().backward()
    assert a.isfinite().all() and s.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_statistics_are_float32_under_autocast(dtype):
    s = (1e4 * torch.randn(2, 3, 8, 8)).clamp(-6e4, 6e4).to(dtype)
    exact = standardize(s.double())
    with torch.autocast('cpu', torch.bfloat16):
        standard = standardize(s)
        aligned = align_statistics(s, s)
    assert standard.dtype == torch.float32 and aligned.dtype == dtype
    torch.testing.assert_close(
        standard.double(), exact, rtol=1e-4, atol=1e-4)
