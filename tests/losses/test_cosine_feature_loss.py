"""1 - cosine over channels, against its formula in float64."""
import math

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from crosskd.losses import cosine_feature_loss
from crosskd.losses.building import build_loss

SIZE = (2, 5, 3, 4)


def random(seed, size=SIZE, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, **kwargs)


def by_hand(x, t):
    """In Python's floats, vector by vector."""
    found = []
    for image, other in zip(x.double(), t.double()):
        for a, b in zip(image.flatten(1).T.tolist(),
                        other.flatten(1).T.tolist()):
            dot = sum(p * q for p, q in zip(a, b))
            found.append(1 - dot / math.hypot(*a) / math.hypot(*b))
    return sum(found) / len(found)


def test_it_is_its_formula():
    x, t = random(0), random(1)
    assert float(cosine_feature_loss(x, t)) == pytest.approx(
        by_hand(x, t), rel=1e-6)
    x, t = x.double(), t.double()
    assert float(cosine_feature_loss(x, t)) == pytest.approx(
        by_hand(x, t), rel=1e-12)


def test_only_directions_count():
    x, t = random(0), random(1)
    assert_close(cosine_feature_loss(3 * x, t / 7), cosine_feature_loss(x, t))
    assert_close(cosine_feature_loss(x, 2 * x), torch.tensor(0.0))
    assert_close(cosine_feature_loss(x, -x), torch.tensor(2.0))


def test_gradient():
    x = random(0, dtype=torch.float64).requires_grad_()
    t = random(1, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cosine_feature_loss(x, t), x)
    cosine_feature_loss(x, t).backward()
    assert t.grad is None


@pytest.mark.parametrize('which', [0, 1])
def test_a_vector_of_zeros_has_no_direction(which):
    maps = [random(0), random(1)]
    maps[which][0, :, 1, 2] = 0
    x, t = maps[0].requires_grad_(), maps[1]
    loss = cosine_feature_loss(x, t)
    loss.backward()
    assert x.grad.isfinite().all() and not x.grad[0, :, 1, 2].any()
    assert x.grad.abs().max() < 1
    others = torch.nn.functional.cosine_similarity(x, t)  # 0 there
    assert_close(loss, 1 - others.mean())


def test_half_precision_is_not_rounded_inside():
    """Squares of these values overflow float16."""
    x, t = (1000 * random(seed).half() for seed in (0, 1))
    with torch.autocast('cpu', torch.bfloat16):
        loss = cosine_feature_loss(x, t)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(by_hand(x, t), rel=1e-5)


def test_the_module_is_weighted_and_compares_features():
    x, t = random(0), random(1)
    loss = build_loss('loss_feat_kd', dict(
        type='CosineFeatureLoss', loss_weight=3.0), ('features', ))
    assert_close(loss(x, t), 3 * cosine_feature_loss(x, t))
    assert MODELS.build(dict(type='CosineFeatureLoss')).loss_weight == 1.0
    with pytest.raises(ValueError, match='loss_weight must be'):
        MODELS.build(dict(type='CosineFeatureLoss', loss_weight=-1))
