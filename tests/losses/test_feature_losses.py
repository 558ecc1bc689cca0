"""Losses for features against float64 loops written from the formulas."""
import math

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from crosskd.losses import (
    ChannelWiseDivergence,
    CosineFeatureLoss,
    FGDLoss,
    MGDLoss,
    PKDLoss,
    ScoreWeightedL2Loss,
    channel_wise_divergence,
    fgd_loss,
    mgd_loss,
    pkd_loss,
    score_weighted_l2_loss,
)
from crosskd.losses.fgd_loss import FGDWeights, box_masks

pytestmark = pytest.mark.torch_only

SHAPE = (2, 3, 4, 5)
NONE = [-9.0, -9.0, -9.0, -9.0]
#: xyxy as fractions: inside the map, overlapping, at its edges, a point; none
BOXES = torch.tensor([[[0.1, 0.3, 0.55, 0.8], [0.5, 0.5, 1.0, 1.0],
                       [0.0, 0.0, 0.2, 0.25], [0.4, 0.6, 0.4, 0.6]],
                      [NONE] * 4], dtype=torch.float64)


def random(*shape, seed=0, scale=2.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=rng, dtype=torch.float64)


def softmax(values):
    powers = [math.exp(v) for v in values]
    return [p / sum(powers) for p in powers]


def cwd_by_hand(s, t, tau, norm):
    n, c, h, w = s.shape
    total = 0.0
    for channel in range(c):
        both = []
        for x in (s, t):
            rows = x[:, channel].reshape(n, -1).tolist()
            if norm:
                every = [v for row in rows for v in row]
                mean = sum(every) / len(every)
                var = sum((v - mean)**2 for v in every) / len(every)
                rows = [[(v - mean) / math.sqrt(var + 1e-5) for v in row]
                        for row in rows]
            both.append([softmax([v / tau for v in row]) for row in rows])
        for p_s, p_t in zip(*both):
            total += sum(b * math.log(b / a) for a, b in zip(p_s, p_t))
    return tau**2 * total / (n * c)


@pytest.mark.parametrize('tau', [0.5, 1, 4])
@pytest.mark.parametrize('norm', [None, 'channel'])
def test_cwd_is_its_formula(tau, norm):
    s, t = random(*SHAPE), random(*SHAPE, seed=1, scale=3)
    assert float(channel_wise_divergence(s, t, tau, norm)) == pytest.approx(
        cwd_by_hand(s, t, tau, norm), rel=1e-9)


def test_cwd_with_norm_ignores_the_scale_of_channels():
    s, t = random(*SHAPE), random(*SHAPE, seed=1)
    scaled = 3 * s + torch.arange(3).view(3, 1, 1), 0.5 * t - 2
    torch.testing.assert_close(
        channel_wise_divergence(*scaled, norm='channel'),
        channel_wise_divergence(s, t, norm='channel'), rtol=1e-4, atol=0)
    assert not torch.isclose(channel_wise_divergence(*scaled),
                             channel_wise_divergence(s, t))


@pytest.mark.parametrize('norm', [None, 'channel'])
def test_cwd_of_a_single_location_is_nothing(norm):
    s = random(1, 3, 1, 1).requires_grad_()
    loss = channel_wise_divergence(s, random(1, 3, 1, 1, seed=1), norm=norm)
    loss.backward()
    assert float(loss) == 0 and not s.grad.any()


def masks_by_hand(boxes, height, width):
    inside = np.zeros((len(boxes), height, width))
    for image, own in enumerate(boxes):
        for x1, y1, x2, y2 in own.tolist():
            left, right = math.floor(x1 * width), math.ceil(x2 * width)
            top, bottom = math.floor(y1 * height), math.ceil(y2 * height)
            area = (right - left + 1) * (bottom - top + 1)
            for y in range(max(top, 0), min(bottom, height - 1) + 1):
                for x in range(max(left, 0), min(right, width - 1) + 1):
                    inside[image, y, x] = max(inside[image, y, x], 1 / area)
    outside = np.zeros_like(inside)
    for image in range(len(boxes)):
        free = inside[image] == 0
        if free.any():
            outside[image][free] = 1 / free.sum()
    return inside, outside


@pytest.mark.parametrize('boxes', [
    BOXES, BOXES[:, :1], BOXES[1:].repeat(2, 1, 1),
    BOXES.new_tensor([[[0.0, 0, 1, 1], NONE]])])
@pytest.mark.parametrize('size', [(4, 5), (16, 20), (1, 1)])
def test_masks_of_boxes(boxes, size):
    for found, expected in zip(box_masks(boxes, *size),
                               masks_by_hand(boxes, *size)):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_a_box_counts_by_its_size_on_the_map():
    """3 × 2 strides, from an edge of a location: 4 × 3 locations."""
    box = torch.tensor([[[0.25, 0.25, 0.625, 0.5]]]).double()
    inside, outside = box_masks(box, 8, 8)
    assert int((inside > 0).sum()) == 12
    assert float(inside.max()) == pytest.approx(1 / 12)
    assert float(outside.max()) == pytest.approx(1 / (64 - 12))
    assert bool(((inside > 0) != (outside > 0)).all())


def fgd_by_hand(s, t, boxes, related, w, temperature):
    n, c, h, g = s.shape
    masks = masks_by_hand(boxes, h, g)
    s, t, r_s, r_t = (x.tolist() for x in (s, t, *related))
    total = 0.0
    for image in range(n):
        attention = []
        for x in (s[image], t[image]):
            flat = [[abs(v) for row in channel for v in row] for channel in x]
            places = softmax([
                sum(column) / c / temperature for column in zip(*flat)])
            channels = softmax([
                sum(channel) / (h * g) / temperature for channel in flat])
            attention.append(([h * g * v for v in places],
                              [c * v for v in channels]))
        total += w.gamma * sum(
            abs(a - b) for ours, theirs in zip(*attention)
            for a, b in zip(ours, theirs))
        at_t, to_t = attention[1]
        for k in range(c):
            for y in range(h):
                for x in range(g):
                    factor = (w.alpha * masks[0][image, y, x]
                              + w.beta * masks[1][image, y, x])
                    total += factor * at_t[y * g + x] * to_t[k] * (
                        t[image][k][y][x] - s[image][k][y][x])**2
                    total += w.lambda_ * (r_t[image][k][y][x]
                                          - r_s[image][k][y][x])**2
    return total / n


@pytest.mark.parametrize('weights', [
    FGDWeights(1, 0, 0, 0), FGDWeights(0, 1, 0, 0), FGDWeights(0, 0, 1, 0),
    FGDWeights(0, 0, 0, 1), FGDLoss().weights])
@pytest.mark.parametrize('temperature', [0.5, 0.8])
def test_fgd_is_its_formula(weights, temperature):
    s, t = random(*SHAPE), random(*SHAPE, seed=1)
    related = random(*SHAPE, seed=2), random(*SHAPE, seed=3)
    given = s, t, BOXES, related, weights, temperature
    assert float(fgd_loss(*given)) == pytest.approx(
        fgd_by_hand(*given), rel=1e-9)


def test_relations_of_fgd_are_those_of_the_whole_map():
    """The block of its paper, with weights that it has after some steps."""
    loss = built(FGDLoss(alpha=0, beta=0, gamma=0, lambda_=1), 4)
    s, t = random(2, 4, 3, 5), random(2, 4, 3, 5, seed=1)
    for p in loss.parameters():
        nn.init.normal_(p)
    maps = []
    for whose, x in (('student', s), ('teacher', t)):
        own = dict(loss.relations[0][whose].named_parameters())
        weights = torch.einsum(
            'nchw,c->nhw', x, own['conv_mask.weight'].flatten()).flatten(
                1).softmax(1)
        context = torch.einsum('nl,ncl->nc', weights, x.flatten(2))
        hidden = context @ own['channel_add_conv.0.weight'].flatten(
            1).T + own['channel_add_conv.0.bias']
        assert hidden.shape == (2, 2)  # half the channels
        hidden = (hidden - hidden.mean(1, True)) / (
            hidden.var(1, False, keepdim=True) + 1e-5).sqrt()
        hidden = (hidden * own['channel_add_conv.1.weight'].flatten()
                  + own['channel_add_conv.1.bias'].flatten()).relu()
        made = hidden @ own['channel_add_conv.3.weight'].flatten(
            1).T + own['channel_add_conv.3.bias']
        maps.append(x + made[..., None, None])
    expected = (maps[0] - maps[1]).square().sum() / 2
    torch.testing.assert_close(loss(s, t, boxes=BOXES), expected)


def test_relations_of_fgd_begin_as_the_maps_themselves():
    loss = built(FGDLoss(alpha=0, beta=0, gamma=0, lambda_=1))
    s, t = random(*SHAPE), random(*SHAPE, seed=1)
    torch.testing.assert_close(loss(s, t, boxes=BOXES),
                               (s - t).square().sum() / 2)


@pytest.mark.parametrize('hidden', [
    torch.zeros(2, 1, 4, 5), torch.ones(2, 1, 4, 5),
    torch.arange(40.).view(2, 1, 4, 5) % 3])
def test_mgd_is_its_formula(hidden):
    s, t = random(*SHAPE), random(*SHAPE, seed=1)
    mask = (hidden == 0).double()
    generate = nn.Conv2d(3, 3, 3, padding=1).double()
    made = generate(s * mask).tolist()
    expected = sum(
        (made[n][c][y][x] - float(t[n, c, y, x]))**2 for n in range(2)
        for c in range(3) for y in range(4) for x in range(5)) / 2
    assert float(mgd_loss(s, t, mask, generate)) == pytest.approx(
        expected, rel=1e-9)


@pytest.mark.parametrize('ratio', [0, 0.45, 0.65, 1])
def test_mgd_hides_each_location_with_that_probability(ratio):
    loss = built(MGDLoss(ratio, 1.0), 2)
    loss.generators[0] = Seen()
    ones = torch.ones(4, 2, 50, 50).double()
    loss(ones, ones)
    seen, = loss.generators[0].seen
    assert torch.equal(seen[:, 0], seen[:, 1])  # all channels of a location
    assert float((seen == 0).double().mean()) == pytest.approx(ratio, abs=.02)
    loss(ones, ones)
    assert ratio in (0, 1) or not torch.equal(*loss.generators[0].seen)


class Seen(nn.Module):
    """Gives back what it is given, and keeps it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return x


def test_the_generator_of_mgd_is_two_convolutions():
    loss = MGDLoss()
    loss.build_layers([8, 8])
    for generator in loss.generators:
        first, relu, second = generator
        assert isinstance(relu, nn.ReLU)
        for conv in (first, second):
            assert conv.weight.shape == (8, 8, 3, 3) and conv.padding == (1, 1)
    assert loss.generators[0][0].weight is not loss.generators[1][0].weight


def test_score_weighted_l2_is_its_formula():
    s, t = random(*SHAPE), random(*SHAPE, seed=1)
    w = random(2, 1, 4, 5, seed=2).sigmoid()
    expected = sum(
        float(w[n, 0, y, x]) * float(t[n, c, y, x] - s[n, c, y, x])**2
        for n in range(2) for c in range(3) for y in range(4)
        for x in range(5)) / (3 * float(w.sum()))
    assert float(score_weighted_l2_loss(s, t, w)) == pytest.approx(
        expected, rel=1e-9)
    assert float(score_weighted_l2_loss(s, t, 0 * w)) == 0
    loss = built(ScoreWeightedL2Loss())
    torch.testing.assert_close(
        loss(s, t, scores=w),
        score_weighted_l2_loss(loss.projections[0](s), t, w))
    first, relu, second = loss.projections[0]
    assert isinstance(relu, nn.ReLU)
    assert first.weight.shape == second.weight.shape == (3, 3, 1, 1)


# -- what all of them have in common ------------------------------------------


def built(loss, channels=3):
    torch.manual_seed(0)
    loss.build_layers([channels])
    return loss.double()


MODULES = dict(
    PKDLoss=PKDLoss, ChannelWiseDivergence=ChannelWiseDivergence,
    norm=lambda **kw: ChannelWiseDivergence(norm='channel', **kw),
    MGDLoss=lambda **kw: MGDLoss(mask_ratio=0, **kw), FGDLoss=FGDLoss,
    ScoreWeightedL2Loss=ScoreWeightedL2Loss,
    CosineFeatureLoss=CosineFeatureLoss)


def called(name, dtype=torch.float64, **kwargs):
    """A function of two maps: the module with all that it takes."""
    loss = built(MODULES[name](**kwargs)).to(dtype)
    further = dict(level=0, boxes=BOXES,
                   scores=random(2, 1, 4, 5, seed=9).sigmoid().to(dtype))
    return lambda s, t: loss(s, t, **{k: further[k] for k in loss.takes})


@pytest.mark.parametrize('name', MODULES)
def test_gradients(name):
    loss = called(name)
    s, t = random(*SHAPE).requires_grad_(), random(*SHAPE, seed=1)
    t.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, t.detach()), s)
    loss(s, t).backward()
    assert t.grad is None


@pytest.mark.parametrize('name', MODULES)
def test_a_map_of_another_size_is_resized_to_the_targets(name):
    loss = called(name)
    s, t = random(2, 3, 8, 10), random(*SHAPE, seed=1)
    small = nn.functional.interpolate(s, (4, 5), mode='bilinear')
    torch.testing.assert_close(loss(s, t), loss(small, t))


@pytest.mark.parametrize('name', MODULES)
def test_the_weight_multiplies(name):
    s, t = random(*SHAPE), random(*SHAPE, seed=1)
    one, three = (called(name, loss_weight=w)(s, t) for w in (1, 3))
    torch.testing.assert_close(3 * one, three)
    assert called(name, loss_weight=0)(s, t) == 0
    with pytest.raises(ValueError, match='loss_weight must be'):
        called(name, loss_weight=-1)


@pytest.mark.parametrize('name', MODULES)
@pytest.mark.parametrize('amp', [False, True])
def test_half_precision_is_computed_in_float32(name, amp):
    """Half maps, or layers under autocast, whose targets may be half."""
    s, t = (random(*SHAPE, seed=k, scale=50).float() for k in (0, 1))
    expected = called(name, torch.float32)(s, t)
    s = s.bfloat16().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        dtype = torch.float32 if amp else torch.bfloat16
        found = called(name, dtype)(s, t.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)
    found.backward()
    assert s.grad.isfinite().all() and s.grad.any()


def test_fgd_takes_the_teachers_map_as_it_is_beside_a_student_in_half():
    s, t = (random(*SHAPE, seed=k, scale=50).float() for k in (0, 1))
    loss = built(FGDLoss(gamma=0, lambda_=0)).float()
    s = s.bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        found = loss(s, t, boxes=BOXES)
    expected = fgd_loss(s.float(), t, BOXES, (s, s),
                        FGDWeights(1e-3, 5e-4, 0, 0))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize('name', ['PKDLoss', 'ChannelWiseDivergence', 'norm',
                                  'FGDLoss', 'CosineFeatureLoss'])
def test_equal_maps_cost_nothing(name):
    s = random(*SHAPE).requires_grad_()
    loss = called(name)(s, s.detach().clone())
    loss.backward()
    assert float(loss) == pytest.approx(0, abs=1e-12)
    assert float(s.grad.abs().sum()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize('cfg, word', [
    (dict(type='ChannelWiseDivergence', tau=0), 'tau must'),
    (dict(type='ChannelWiseDivergence', norm='batch'), "norm must.*'channel'"),
    (dict(type='MGDLoss', mask_ratio=1.1), 'mask_ratio must be at most 1'),
    (dict(type='MGDLoss', mask_ratio=-0.1), 'mask_ratio must'),
    (dict(type='FGDLoss', temperature=0), 'temperature must'),
    *((dict(type='FGDLoss', **{key: -1}), f'{key} must')
      for key in ('alpha', 'beta', 'gamma', 'lambda_'))])
def test_bad_parameters_are_named(cfg, word):
    with pytest.raises(ValueError, match=f'{cfg["type"]}: {word}'):
        MODELS.build(cfg)


def test_functions_and_modules_agree():
    s, t = random(*SHAPE), random(*SHAPE, seed=1)
    torch.testing.assert_close(PKDLoss()(s, t), pkd_loss(s, t))
    torch.testing.assert_close(
        ChannelWiseDivergence(2.0, 'channel', 5.0)(s, t),
        5 * channel_wise_divergence(s, t, 2.0, 'channel'))
