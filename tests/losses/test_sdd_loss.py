"""SDDLoss against float64 loops, and against the reference's figures."""
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from oracle_sdd import inside, oracle_sdd

from crosskd.losses import SDDLoss, sdd_grids, sdd_loss
from crosskd.losses.logit_maps import LogitMaps
from crosskd.losses.sdd_bases import BASES
from crosskd.numerics.constants import to_device

pytestmark = pytest.mark.torch_only

# measured on the reference implementation; CI names a file that may have more
CASES = json.loads(Path(os.environ.get(
    'CROSSKD_SDD_CASES', Path(__file__).with_name('sdd_cases.json')
)).read_text())
PARAMETERS = dict(
    kd=dict(temperature=4.0), dkd=dict(temperature=2.0, alpha=0.5, beta=3.0),
    nkd=dict(temperature=2.0, gamma=0.7), bernoulli=dict(temperature=0.5),
    qfl=dict(temperature=2.0))


def maps(*shape, seed=0, scale=2.0):
    """Student and teacher logits, labels of which some are the teacher's."""
    rng = torch.Generator().manual_seed(seed)
    s, t = scale * torch.randn(2, *shape, generator=rng, dtype=torch.float64)
    labels = torch.randint(shape[1], shape[:1], generator=rng)
    labels[::2] = t.mean((2, 3)).argmax(1)[::2]
    return s, t, labels


@pytest.mark.parametrize(
    'case', CASES, ids=lambda c: f"{c['base']}-{c['seed']}")
def test_reference_figures(case):
    rng, shape = np.random.default_rng([11, case['seed']]), case['shape']
    s, t = (torch.tensor(case['scale'] * rng.standard_normal(shape)).float()
            for _ in range(2))
    labels = torch.tensor(rng.integers(0, shape[1], shape[0]))
    labels[::2] = t.mean((2, 3)).argmax(1)[::2]
    parameters = {k: case[k] for k in ('alpha', 'beta', 'gamma') if k in case}
    loss = sdd_loss(s.requires_grad_(), t, labels, case['base'],
                    tuple(case['scales']), case['T'], **parameters)
    loss.backward()
    expected = case['expected']
    assert loss.item() == pytest.approx(expected['loss'], rel=1e-5)
    assert s.grad.norm().item() == pytest.approx(
        expected['grad_norm'], rel=1e-5)


@pytest.mark.parametrize('size', [(8, 8), (7, 5), (4, 4)])
@pytest.mark.parametrize('labelled', [True, False])
@pytest.mark.parametrize('base', BASES)
def test_every_base_and_both_readings(base, labelled, size):
    s, t, labels = maps(4, 5, *size)
    labels = labels if labelled else None
    ours = sdd_loss(s, t, labels, base=base, **PARAMETERS[base])
    expected = oracle_sdd(s, t, labels, base=base, **PARAMETERS[base])
    assert float(ours) == pytest.approx(expected, rel=1e-9)
    one = sdd_loss(s, t, labels, base=base, complementary_weight=1.0,
                   **PARAMETERS[base])
    assert float(one) < float(ours)  # some cells are complementary


@pytest.mark.parametrize('base', BASES)
def test_parameters_by_default(base):
    """Those of the papers of SDD, DKD and NKD."""
    s, t, labels = maps(4, 5, 8, 8)
    expected = oracle_sdd(
        s, t, labels, base=base, scales=(1, 2, 4), temperature=4.0, alpha=1.0,
        beta=8.0, gamma=1.5, complementary_weight=2.0)
    for loss in (sdd_loss(s, t, labels, base), SDDLoss(base)(s, t, labels)):
        assert float(loss) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('scales', [(1, ), (2, ), (4, ), (3, 1), (5, 4),
                                    (1, 2, 4, 6)])
def test_any_set_of_scales(scales):
    s, t, labels = maps(3, 4, 7, 6)
    assert float(sdd_loss(s, t, labels, scales=scales)) == pytest.approx(
        oracle_sdd(s, t, labels, scales=scales), rel=1e-9)


def test_reading_without_labels_where_there_are_some():
    s, t, labels = maps(4, 5, 8, 8)
    free = SDDLoss('dkd', temperature=2.0, label_free=True)(s, t, labels)
    assert float(free) == pytest.approx(
        oracle_sdd(s, t, labels, 'dkd', temperature=2.0, label_free=True),
        rel=1e-9)
    assert float(free) != pytest.approx(
        float(SDDLoss('dkd', temperature=2.0)(s, t, labels)), rel=1e-3)


@pytest.mark.parametrize('base', BASES)
def test_weights_and_extents(base):
    s, t, labels = maps(4, 5, 8, 7)
    rng = torch.Generator().manual_seed(1)
    weight = torch.rand(4, 8, 7, generator=rng, dtype=torch.float64)
    extents = [(8, 7), (0, 5), (8, 3), (5, 6)]
    mask = inside(s, extents)
    loss = SDDLoss(base, loss_weight=3.0, **PARAMETERS[base])
    for y in (labels, None):
        assert float(loss(s, t, y, weight, extents)) == pytest.approx(
            3 * oracle_sdd(s, t, y, base, weight=weight, mask=mask,
                           **PARAMETERS[base]), rel=1e-9)
    assert float(loss(s, t, labels, extents=[(0, 0)] * 4)) == 0
    assert float(loss(s, t, labels, weight=0 * weight)) == 0


@pytest.mark.parametrize('base', BASES)
@pytest.mark.parametrize('size', [(8, 8), (7, 5)])
def test_a_padded_map_costs_what_the_unpadded_one_does(base, size):
    s, t, labels = maps(3, 5, *size)
    h, w = size
    padded = [torch.full((3, 5, h + 4, w + 3), 77.0, dtype=torch.float64)
              for _ in range(2)]
    for big, small in zip(padded, (s, t)):
        big[:, :, :h, :w] = small
    padded[0].requires_grad_()
    s.requires_grad_()
    loss = SDDLoss(base)
    ours, plain = loss(*padded, labels, extents=[size] * 3), loss(s, t, labels)
    assert float(ours) == pytest.approx(float(plain), rel=1e-12)
    (g, ), (h_, ) = (torch.autograd.grad(x, y)
                     for x, y in ((ours, padded[0]), (plain, s)))
    torch.testing.assert_close(g[:, :, :h, :w], h_)
    assert g[:, :, h:].abs().max() == g[:, :, :, w:].abs().max() == 0


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('base', BASES)
def test_maps_of_several_sizes_are_those_of_each_size(base, weighted):
    """Two images of three maps each, at three sizes, in one go."""
    extents = {(12, 18): [(12, 18), (9, 5)], (6, 9): [(6, 9), (5, 3)],
               (3, 5): [(3, 5), (3, 2)]}
    loss = SDDLoss(base, scales=(2, 1, 4, 5), **PARAMETERS[base])
    levels, weights, expected, counts = [], [], [], []
    for i, (size, images) in enumerate(extents.items()):
        s, t, _ = maps(6, 4, *size, seed=i)
        weight = t.sigmoid().amax(1) if weighted else torch.ones_like(t[:, 0])
        levels.append(LogitMaps(s.requires_grad_(), t, extents=images))
        weights.append(weight)
        scales = [m for m in loss.scales if m <= min(size)]
        of_each = [e for e in images for _ in range(3)]
        expected.append(oracle_sdd(
            s, t, base=base, scales=scales, weight=weight,
            mask=inside(s, of_each), **PARAMETERS[base]))
        # alone, a level is divided by its own count
        counts.append(float(loss.sums(levels[-1:], [weight])[1]))
    totals, count = loss.sums(levels, weights if weighted else None)
    assert float(count) == pytest.approx(sum(counts), rel=1e-12)
    assert totals.tolist() == pytest.approx(
        [x * n for x, n in zip(expected, counts)], rel=1e-9)
    totals[1].backward()
    assert [m.student.grad.abs().max() > 0 for m in levels] == [0, 1, 0]


def test_shares_say_which_loss_a_map_counts_in():
    s, t, labels = maps(4, 3, 8, 8)
    loss = SDDLoss()
    shares = torch.tensor([[1, 0], [0, 0], [0, 1], [1, 0]]).bool()
    totals, count = loss.sums([LogitMaps(s, t, labels, shares=shares)])
    assert float(count) == 3 * 21
    assert totals.tolist() == pytest.approx([
        21 * len(rows) * oracle_sdd(s[rows], t[rows], labels[rows])
        for rows in ([0, 3], [2])], rel=1e-9)


def test_shares_of_several_maps_are_those_of_each_map():
    loss, levels = SDDLoss(), []
    for i, (map_0, map_1) in enumerate((([1, 0], [1, 1]), ([0, 1], [0, 0]))):
        s, t, _ = maps(2, 3, 8, 8, seed=i)
        levels.append(LogitMaps(
            s, t, shares=torch.tensor([map_0, map_1]).bool()))
    totals, count = loss.sums(levels)
    alone = [loss.sums([m]) for m in levels]
    torch.testing.assert_close(totals, torch.cat([x for x, _ in alone]))
    assert float(count) == sum(float(n) for _, n in alone) == 4 * 21


def test_grids_of_the_last_sizes_are_kept(monkeypatch):
    made = []
    monkeypatch.setattr(sdd_grids, 'to_device', lambda *args: (
        made.append(args), to_device(*args))[1])
    s, t, _ = maps(2, 3, 9, 21)
    loss = SDDLoss()
    sdd_grids.lay_grids.cache_clear()
    with torch.inference_mode():  # what is kept must do for training, too
        expected = float(loss(s, t, extents=[(9, 20), (7, 21)]))
    assert made
    made.clear()
    value = loss(s.requires_grad_(), t, extents=[(9, 20), (7, 21)])
    value.backward()
    assert float(value) == expected and not made
    for width in range(4, 4 + 2 * sdd_grids.KEPT_GRIDS):
        loss(s, t, extents=[(9, width // 2), (7, width // 3)])
    info = sdd_grids.lay_grids.cache_info()
    assert info.currsize <= sdd_grids.KEPT_GRIDS


def test_maps_may_be_of_several_numbers_and_kinds():
    """As a region of one's own may make them: their sums are in that order."""
    levels = []
    for i, (b, labelled) in enumerate(((2, 1), (3, 0), (3, 0), (0, 0))):
        s, t, labels = maps(b, 3, 8, 8 + i, seed=i)
        levels.append(LogitMaps(s, t, labels if labelled else None))
    loss = SDDLoss()
    totals, count = loss.sums(levels)
    alone = [loss.sums([m]) for m in levels]
    torch.testing.assert_close(totals, torch.cat([x for x, _ in alone]))
    assert float(count) == sum(float(n) for _, n in alone)


@pytest.mark.parametrize('base', BASES)
def test_gradients(base):
    s, t, labels = maps(2, 3, 4, 5)
    s.requires_grad_()
    loss = SDDLoss(base, **PARAMETERS[base])
    assert torch.autograd.gradcheck(lambda x: loss(x, t, labels), s)
    t.requires_grad_()
    loss(s, t, labels).backward()
    assert t.grad is None
    if base not in ('nkd', 'qfl'):  # which have the teacher's entropy in them
        assert float(loss(t.detach(), t)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16,
                                   torch.float32])
@pytest.mark.parametrize('base', BASES)
def test_extreme_logits_and_half_precision_are_finite(base, dtype):
    s, t, labels = maps(3, 4, 8, 8)
    for x, y in ((s, t), (1e4 * s.sign(), 1e4 * t.sign()),
                 (0 * s + 1e4, 0 * t - 1e4)):
        x = x.to(dtype).requires_grad_()
        with torch.autocast('cpu', torch.bfloat16):
            out = SDDLoss(base, temperature=1.0)(x, y.to(dtype), labels)
        assert out.dtype == torch.float32 and out.isfinite()
        out.backward()
        assert x.grad.isfinite().all()


def test_types_may_be_mixed():
    s, t, labels = maps(3, 4, 8, 8)
    exact = float(SDDLoss()(s, t, labels))
    weight = torch.ones(3, 8, 8)
    for a, b, w in ((s.float(), t, weight), (s, t.half(), weight.half()),
                    (s.half(), t.float(), weight.double())):
        value = SDDLoss()(a, b, labels.int(), w)
        assert float(value) == pytest.approx(exact, rel=1e-2)


def test_a_small_image_in_a_large_batch_does_without_fine_grids():
    s, t, labels = maps(2, 4, 8, 8)
    loss = SDDLoss(scales=(1, 4))
    extents = [(8, 8), (3, 8)]
    _, count = loss.sums([LogitMaps(s, t, extents=extents)])
    assert float(count) == 17 + 1
    alone = SDDLoss(scales=(1, ))(s[1:, :, :3], t[1:, :, :3], labels[1:])
    total, _ = loss.sums([
        LogitMaps(s[1:], t[1:], labels[1:], extents[1:])])
    assert float(total) == pytest.approx(float(alone))


@pytest.mark.parametrize('base', BASES)
def test_nothing_costs_nothing(base):
    s = torch.zeros(0, 4, 8, 8, requires_grad=True)
    out = sdd_loss(s, s.detach(), torch.zeros(0, dtype=torch.long), base=base)
    assert float(out) == 0
    out.backward()
    assert s.grad.shape == s.shape


def test_one_class_on_sigmoid_scores():
    s, t, _ = maps(2, 1, 4, 4)
    for base in ('bernoulli', 'qfl'):
        assert float(sdd_loss(s, t, base=base)) == pytest.approx(
            oracle_sdd(s, t, base=base), rel=1e-9)


@pytest.mark.parametrize('cfg, error, words', [
    (dict(base='ce'), ValueError, "base must be one of .*found 'ce'"),
    (dict(scales=()), ValueError, r'scales must be .*found \(\)'),
    (dict(scales=(1, 0)), ValueError, r'scales .*found \(1, 0\)'),
    (dict(scales=(2, 2)), ValueError, r'scales .*found \(2, 2\)'),
    (dict(scales=(1, 2.0)), ValueError, 'scales .*found'),
    (dict(scales=4), ValueError, 'scales .*found 4'),
    (dict(temperature=0), ValueError, 'temperature must be finite and > 0'),
    (dict(temperature='4'), TypeError, 'temperature must be a number'),
    (dict(alpha=-0.5), ValueError, 'alpha'),
    (dict(beta=math.inf), ValueError, 'beta'),
    (dict(beta=-0.5), ValueError, 'beta'),
    (dict(gamma=math.nan), ValueError, 'gamma'),
    (dict(gamma=-0.5), ValueError, 'gamma'),
    (dict(complementary_weight=-0.5), ValueError, 'complementary_weight'),
    (dict(loss_weight=-0.5), ValueError, 'loss_weight'),
    (dict(warmup_iters=-1), ValueError, 'warmup_iters'),
    (dict(warmup_iters=1.5), TypeError, 'warmup_iters'),
    (dict(label_free='yes'), TypeError, 'label_free'),
])
def test_bad_parameters_are_named(cfg, error, words):
    with pytest.raises(error, match=f'SDDLoss: {words}'):
        MODELS.build(dict(type='SDDLoss', **cfg))


@pytest.mark.parametrize('change, words', [
    (dict(scales=(1, 8)), 'scales: 8 does not fit logit maps of 6×7; '
     'expected 6 at most'),
    (dict(teacher_logits=torch.zeros(2, 4, 6, 7)), r'found \(2, 3, 6, 7\) and '
     r'\(2, 4, 6, 7\)'),
    (dict(labels=torch.tensor([0, 3])), 'labels must be between 0 and 2, '
     'found 0 to 3'),
    (dict(labels=torch.tensor([0])), r'labels must have shape \(2, \)'),
])
def test_inputs_that_do_not_fit_are_named(change, words):
    x = torch.zeros(2, 3, 6, 7)
    with pytest.raises(ValueError, match=words):
        sdd_loss(**{**dict(student_logits=x, teacher_logits=x), **change})


def test_softmax_of_one_class_is_an_error():
    x = torch.zeros(2, 1, 4, 4)
    for base in ('kd', 'dkd', 'nkd'):
        with pytest.raises(ValueError, match='at least 2 classes, found 1'):
            sdd_loss(x, x, base=base)


def test_weights_that_do_not_fit_are_named():
    x = torch.zeros(2, 3, 6, 7)
    with pytest.raises(ValueError, match='weight must have shape'):
        SDDLoss()(x, x, weight=torch.ones(2, 6, 6))


@pytest.mark.parametrize('extents, words', [
    ([(6, 7)], 'a .height, width. for each of 2 maps'),
    ([(6, 7), (7, 7)], 'extents must be at most 6×7, .* found'),
    ([(6, 7), (-1, 7)], 'extents must be .* found .*-1')])
def test_extents_that_do_not_fit_are_named(extents, words):
    x = torch.zeros(2, 3, 6, 7)
    with pytest.raises(ValueError, match=words):
        SDDLoss()(x, x, extents=extents)


@pytest.mark.parametrize('extents', [[], [(6, 7)] * 3])
def test_images_have_as_many_maps_each(extents):
    x = torch.zeros(4, 3, 6, 7)
    with pytest.raises(ValueError, match='extents must be .* of maps .4.'):
        LogitMaps(x, x, extents=extents)
