"""Boxes that are inside out or without area, in what is distilled.

A head that predicts distances as they are (RTMDet with ``exp_on_reg=False``)
makes boxes whose right side lies left of their left side; one whose distances
may be 0 (FCOS with ``norm_on_bbox``, GFL) makes boxes without area.
"""
import math

import pytest
import torch
from families import FAMILY
from helpers import batch, build, distiller_cfg, plain_cfg, total
from mmdet.models import losses as mmdet_losses
from mmdet.structures.bbox import bbox_overlaps

from crosskd.heads import adapter_of
from crosskd.heads.decoding import with_area
from crosskd.losses.building import build_loss

LEVELS = (0, 1, 2)
SIZES = ((8, 12), (4, 6), (2, 3))
#: losses of boxes, and what they are at most
LOSSES = {
    'GIoULoss': (dict(type='GIoULoss'), 2),
    'DIoULoss': (dict(type='DIoULoss'), 2),
    'EIoULoss': (dict(type='EIoULoss'), 2),
    'IoULoss': (dict(type='IoULoss'), -math.log(1e-6)),
    'IoULoss, linear': (dict(type='IoULoss', mode='linear'), 1),
    'IoULoss, square': (dict(type='IoULoss', mode='square'), 1)}
BOXES = {name: dict(cfg, loss_weight=1.0) for name, (cfg, _) in LOSSES.items()}
TEACHERS = torch.tensor([[10.0, 20, 60, 50]])
#: boxes that a student begins with: along one axis, both, beside the teacher's
STARTS = dict(
    inside_out_x=[40.0, 25, 30, 45], inside_out_y=[20.0, 40, 30, 30],
    both=[40.0, 45, 30, 25], around=[80.0, 90, -20, -30],
    a_point=[30.0, 30, 30, 30], beside=[90.0, 25, 75, 45],
    equal_but_inside_out=[60.0, 50, 10, 20])


def made(name):
    return build_loss('loss_reg_kd', LOSSES[name][0], ('boxes', ))


def wild(rows, seed=0):
    """Boxes of all kinds: proper, inside out, empty, tiny, huge."""
    rng = torch.Generator().manual_seed(seed)
    boxes = 30 * torch.randn(rows, 4, generator=rng)
    scale = torch.tensor([1e-3, 1, 30, 1e5, 1e8])
    boxes *= scale[torch.randint(5, (rows, 1), generator=rng)]
    empty = torch.randint(4, (rows, ), generator=rng) == 0
    boxes[empty, 2:] = boxes[empty, :2]
    return boxes


def sides(boxes):
    return boxes[:, 2:] - boxes[:, :2]


# -- boxes with an area -------------------------------------------------------


def test_boxes_of_a_pixel_and_more_are_left_as_they_are():
    rng = torch.Generator().manual_seed(0)
    low = 300 * torch.randn(1000, 2, generator=rng)
    boxes = torch.cat([low, low + 1 + 200 * torch.rand(
        1000, 2, generator=rng)], 1)
    boxes = boxes[(sides(boxes) >= 1).all(1)]
    assert len(boxes) > 900 and torch.equal(with_area(boxes), boxes)


def test_what_is_shorter_is_a_pixel_about_its_middle():
    found = with_area(torch.tensor([
        [5.0, 5, 1, 9],  # inside out in x
        [3.0, 8, 3, 4],  # empty in x, inside out in y
        [2.0, 2, 2.5, 2.25]]))
    assert found.tolist() == [[2.5, 5, 3.5, 9], [2.5, 5.5, 3.5, 6.5],
                              [1.75, 1.625, 2.75, 2.625]]


def test_no_box_stays_inside_out():
    assert (sides(with_area(wild(4000))) >= 0).all()
    ordinary = wild(4000)
    ordinary = ordinary[ordinary.abs().amax(1) < 1e5]
    assert (sides(with_area(ordinary)) > 0.9).all()


def test_gradients_are_those_of_the_box_that_is_compared():
    boxes = wild(50).requires_grad_()
    weight = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    (with_area(boxes) * weight).sum().backward()
    assert torch.equal(boxes.grad, weight)


# -- losses of them -----------------------------------------------------------


@pytest.mark.parametrize('name', LOSSES)
def test_losses_are_bounded_whatever_is_compared(name):
    ours, theirs = with_area(wild(4000)), with_area(wild(4000, 1))
    found = made(name)(ours, theirs, reduction_override='none')
    assert found.isfinite().all()
    assert found.min() > -1e-5 and found.max() <= LOSSES[name][1] + 1e-5


@pytest.mark.parametrize('name', LOSSES)
def test_equal_boxes_have_no_loss(name):
    """Those of images, where a pixel is not lost by rounding."""
    boxes = wild(4000)
    boxes = with_area(boxes[boxes.abs().amax(1) < 1e5])
    found = made(name)(boxes, boxes.clone(), reduction_override='none')
    assert found.abs().max() < 1e-5


@pytest.mark.parametrize('start', STARTS)
@pytest.mark.parametrize('name', LOSSES)
def test_descent_leads_to_the_teachers_box(name, start):
    """By steps of one pixel against the sign of the gradient."""
    if name.startswith('IoU') and start == 'beside':
        pytest.skip('IoU has no gradient where boxes do not overlap')
    loss, box = made(name), torch.tensor([STARTS[start]])
    before = None
    for _ in range(150):
        box.requires_grad_()
        value = loss(with_area(box), TEACHERS, reduction_override='none')
        before = value.item() if before is None else before
        grad, = torch.autograd.grad(value.sum(), box)
        box = (box - grad.sign()).detach()
    assert value.item() < 0.3 * before
    assert bbox_overlaps(box, TEACHERS, is_aligned=True).item() > 0.85


def test_mmdets_loss_alone_has_no_bound():
    """Which is why boxes are given an area first."""
    box = torch.tensor([[3e4, 3e4, -3e4, -3e4]])
    assert mmdet_losses.GIoULoss()(
        box, TEACHERS, reduction_override='none').item() < -1e5


@pytest.mark.parametrize('kind, why', [
    ('CIoULoss', 'is NaN for two equal boxes'),
    ('SIoULoss', 'is 0 for boxes that are far apart')])
def test_losses_that_are_wrong_somewhere_are_refused(kind, why):
    with pytest.raises(TypeError, match=f'{kind} {why}.*expected IoULoss, '):
        build_loss('kd_cfg.loss_reg_kd', dict(type=kind), ('boxes', ))
    far = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[500.0, 0, 510, 10]])
    loss = getattr(mmdet_losses, kind)()
    assert loss(far[0], far[0]).isnan() or loss(*far).item() == 0


# -- heads --------------------------------------------------------------------


def outputs_of(adapter, geometry, rng):
    """Regression outputs of every size that a head of that family can make."""
    channels = 4 * (adapter.num_bins or 1)
    reg = 20 * torch.randn(2, sum(geometry.counts), channels, generator=rng)
    if adapter.predicts_distances and adapter.boxes_have_area:
        return reg.div(4).exp()
    # YOLOX's are logarithms
    return reg / 5 if adapter.name == 'YOLOX' else reg


@pytest.mark.parametrize('kind, head', [
    *((kind, {}) for kind in FAMILY if not FAMILY[kind].compiled),
    ('rtmdet', dict(exp_on_reg=False)), ('fcos', dict(norm_on_bbox=True))])
def test_a_head_knows_whether_its_boxes_have_an_area(kind, head):
    adapter = adapter_of(build(plain_cfg(kind, **head)).bbox_head)
    geometry = adapter.geometry(SIZES, LEVELS, torch.device('cpu'))
    rng = torch.Generator().manual_seed(0)
    reg = outputs_of(adapter, geometry, rng)
    if 'norm_on_bbox' in head:
        reg = reg.clamp(min=0)
    raw, compared = (f(reg, geometry) for f in (
        adapter.boxes, adapter.forms['boxes']))
    assert (sides(compared) > 0).all()
    proper = (sides(raw) >= 1).all(1)
    assert proper.any() and torch.equal(raw[proper], compared[proper])
    assert adapter.boxes_have_area == (
        FAMILY[kind].boxes != 'bins' and not head)
    if adapter.boxes_have_area:
        assert compared.data_ptr() == raw.data_ptr() or torch.equal(
            compared, raw)


def raw_rtmdet(loss, **kd):
    """RTMDets whose distances have any sign, as mmdet's tiny and s have."""
    cfg = distiller_cfg('rtmdet', loss_reg_kd=loss, **kd)
    for model in (cfg, cfg['teacher_config']['model']):
        model['bbox_head']['exp_on_reg'] = False
    return cfg


def turned_inside_out(model):
    """Its teacher, half of whose boxes are inside out by a few pixels."""
    head = model.teacher.detector.bbox_head
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in head.rtm_reg:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng))
    return model


PREDICTIONS = dict(
    cross_head={}, student=dict(
        prediction='student', reused_teacher_head_idx=None))


@pytest.mark.parametrize('prediction', PREDICTIONS)
@pytest.mark.parametrize('name', LOSSES)
def test_an_rtmdet_with_raw_distances_teaches(name, prediction):
    model = turned_inside_out(build(raw_rtmdet(
        BOXES[name], **PREDICTIONS[prediction])))
    seen = []
    loss = model.distillers.predictions.loss_reg_kd
    loss.register_forward_hook(lambda _, args, made: seen.append(
        (*args, made)))
    losses = model.loss(*batch())
    (ours, theirs, rows), = seen
    widths = sides(theirs)
    assert 0.3 < (widths == 1).any(1).float().mean()
    assert -1e-5 < rows.min() and rows.max() <= LOSSES[name][1] + 1e-5
    assert 0 < total(losses)['loss_reg_kd'] < math.inf
    sum(losses['loss_reg_kd']).backward()
    grads = [p.grad for p in model.neck.parameters()]
    assert all(g.isfinite().all() for g in grads)
    assert any(g.any() for g in grads)


CASES = dict(
    raw=('rtmdet', dict(exp_on_reg=False)),
    empty=('fcos', dict(norm_on_bbox=True)), bins=('gfl', {}))


def without_area(model, case):
    """That detector, some of whose boxes have no area."""
    head = model.bbox_head
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        if case == 'empty':  # each distance is 0
            head.conv_reg.bias.sub_(1000)
            return model
        for layer in head.rtm_reg if case == 'raw' else [head.gfl_reg]:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng))
            if case == 'bins':  # two sides are 0 bins away, or nearly
                layer.bias.view(4, -1)[::2, 0] += 100
    return model


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('case', CASES)
def test_a_student_that_is_the_teacher_has_nothing_to_learn(case, name):
    """Where both of its boxes are inside out, or without an area."""
    kind, head = CASES[case]
    cfg = distiller_cfg(kind, teacher_width=8, loss_reg_kd=BOXES[name])
    for one in (cfg, cfg['teacher_config']['model']):
        one['bbox_head'].update(head)
    model = without_area(build(cfg), case).eval()
    model.teacher.detector.load_state_dict(model.state_dict())
    seen = []
    model.distillers.predictions.loss_reg_kd.register_forward_hook(
        lambda _, args, made: seen.append((*args, made)))
    with torch.no_grad():
        model.loss(*batch())
    (_, theirs, rows), = seen
    assert ((sides(theirs) - 1).abs() < 1e-3).any(1).float().mean() > 0.3
    assert rows.abs().max() < 1e-3
