"""Alignment of intermediate features."""
import pytest
import torch

from crosskd.numerics import statistics

pytestmark = pytest.mark.torch_only


def align_statistics(student, teacher):
    aligned, = statistics.align_statistics([student], [teacher])
    return aligned


def standardize(x):
    return statistics.standardize([x])[0]


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


@pytest.mark.parametrize('scale', [3, 1e-6])
@pytest.mark.parametrize('shape', [(2, 3, 3, 2), (4, 2, 1, 1)])
def test_slope_is_that_of_the_formula(shape, scale):
    """As autograd has it, also of deviations that are as small as 1e-6."""
    s, t = feature(*shape, scale=scale).requires_grad_(), feature(
        *shape, seed=1)
    mean, std, mean_t, std_t = (
        f(x, (0, 2, 3), keepdim=True) for x in (s, t)
        for f in (torch.mean, torch.std))
    formula = (s - mean) / (std + 1e-6) * std_t + mean_t
    weight = feature(*shape, seed=2)
    found, expected = (torch.autograd.grad((x * weight).sum(), s)[0]
                       for x in (align_statistics(s, t), formula))
    torch.testing.assert_close(found * scale, expected * scale, rtol=1e-9,
                               atol=1e-9)


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


def test_maps_of_several_sizes_are_aligned_by_themselves():
    sizes = [(2, 3, 5, 4), (2, 2, 3, 3), (2, 3, 1, 1)]
    students = [feature(*size, seed=i) for i, size in enumerate(sizes)]
    teachers = [feature(*size, seed=9 - i) for i, size in enumerate(sizes)]
    for x in students:
        x.requires_grad_()
    together = statistics.align_statistics(students, teachers)
    weights = [feature(*size, seed=20) for size in sizes]
    sum((a * w).sum() for a, w in zip(together, weights)).backward()
    for x, t, a, w in zip(students, teachers, together, weights):
        alone = x.detach().requires_grad_()
        expected = align_statistics(alone, t)
        (expected * w).sum().backward()
        torch.testing.assert_close(a, expected, rtol=0, atol=0)
        torch.testing.assert_close(x.grad, alone.grad, rtol=0, atol=0)


def test_alignment_keeps_nothing_but_its_input():
    x, t = feature(2, 8, 32, 32).requires_grad_(), feature(2, 8, 32, 32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda saved: kept.append(saved) or saved, lambda saved: saved):
        align_statistics(x, t)
    assert {k.data_ptr() for k in kept if k.numel() > 64} == {x.data_ptr()}
