"""Decoding and comparing boxes: mmdet's values, without copies to a device."""
import pytest
import torch
from mmdet.models import losses as mmdet_losses
from mmdet.models.task_modules.coders import (
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
)

from crosskd.heads.decoding import decode
from crosskd.heads.records import Geometry
from crosskd.losses.building import build_loss

pytestmark = pytest.mark.torch_only


def numbers(*shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng)


def geometry():
    low = 50 * numbers(7, 2)
    boxes = torch.cat([low, low + 1 + 30 * numbers(7, 2, seed=1).abs()], 1)
    return Geometry(boxes, torch.ones(7, 1), [7])


class Doubling(DeltaXYWHBBoxCoder):
    """Another coder, which decodes in its own way."""

    def decode(self, bboxes, pred_bboxes, *args, **kwargs):
        return 2 * super().decode(bboxes, pred_bboxes, *args, **kwargs)


CODERS = dict(
    plain=DeltaXYWHBBoxCoder(),
    scaled=DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2)),
    shifted=DeltaXYWHBBoxCoder((0.1, 0.2, -0.3, 0.4), (0.5, 0.6, 0.7, 0.8)),
    clamped=DeltaXYWHBBoxCoder(add_ctr_clamp=True, ctr_clamp=2),
    other=Doubling(), distance=DistancePointBBoxCoder())


@pytest.mark.parametrize('name', CODERS)
def test_boxes_are_those_of_the_coder(name):
    coder, places = CODERS[name], geometry()
    reg = (4 * numbers(3, 7, 4, seed=2)).requires_grad_()
    points = (places.priors[:, :2] + places.priors[:, 2:]) / 2
    expected = coder.decode(
        (points if name == 'distance' else places.priors).repeat(3, 1),
        reg.flatten(0, 1))
    found = decode(coder, reg, places)
    torch.testing.assert_close(found, expected)
    weight = numbers(21, 4, seed=3)
    for a, b in zip(*(torch.autograd.grad((x * weight).sum(), reg)
                      for x in (found, expected))):
        torch.testing.assert_close(a, b)


def pairs():
    """Boxes that overlap, are equal, apart, inverted and without area."""
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10],
                      [5, 5, 1, 9], [3, 3, 3, 3], [0, 0, 1e-4, 1e-4]])
    b = torch.tensor([[2.0, 3, 12, 9], [0, 0, 10, 10], [20, 30, 40, 50],
                      [0, 0, 10, 10], [3, 3, 3, 3], [0, 0, 1e-4, 2e-4]])
    low = 20 * numbers(50, 2)
    some = torch.cat([low, low + 15 * numbers(50, 2, seed=1)], 1)
    return (torch.cat([a, some]),
            torch.cat([b, some + 5 * numbers(50, 4, seed=2)]))


@pytest.mark.parametrize('cfg', [
    dict(type='GIoULoss'), dict(type='GIoULoss', loss_weight=2.5, eps=1e-3),
    dict(type='IoULoss'), dict(type='IoULoss', mode='linear'),
    dict(type='IoULoss', mode='square', loss_weight=0.75),
    dict(type='IoULoss', eps=1e-2), dict(type='DIoULoss')])
def test_losses_are_mmdets(cfg):
    arguments = dict(cfg)
    kind = getattr(mmdet_losses, arguments.pop('type'))
    ours, theirs = build_loss('loss_reg_kd', cfg, ('boxes', )), kind(
        **arguments)
    assert isinstance(ours, kind)
    a, b = pairs()
    a.requires_grad_()
    found = ours(a, b, reduction_override='none')
    expected = theirs(a, b, reduction_override='none')
    assert found.shape == (len(a), )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    for x, y in zip(*(torch.autograd.grad(loss.sum(), a)
                      for loss in (found, expected))):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
