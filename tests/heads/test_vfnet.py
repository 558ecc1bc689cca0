"""VFNet: the refined boxes and their scores are distilled."""
import pytest
import torch
from family_checks import (
    by_level,
    check_losses_fall,
    check_method,
    given_to,
    padded_batch,
)
from helpers import METHODS, batch, build, distiller_cfg, plain_cfg
from pretend_device import DEVICE, pretend_device

from crosskd.compat.mmcv_ext import is_installed
from crosskd.heads import adapter_of, record

pytestmark = pytest.mark.skipif(
    is_installed(), reason='needs compiled ops of mmcv')
LEVELS = (0, 1, 2)


def head_and_features(train=True, **kwargs):
    model = build(plain_cfg('vfnet', **kwargs)).train(train)
    features = [x.detach().requires_grad_()
                for x in model.extract_feat(batch()[0])]
    return model.bbox_head, adapter_of(model.bbox_head), features


@pytest.mark.parametrize('norm_type', ['reg_denom', 'stride'])
@pytest.mark.parametrize('train', [True, False])
def test_what_the_head_returns_has_names(train, norm_type):
    head, adapter, features = head_and_features(
        train, bbox_norm_type=norm_type)
    names = ['cls', 'initial', 'reg'] if train else ['cls', 'reg']
    assert list(adapter.forward_outputs(train)) == names
    assert adapter.outputs == ('cls', 'reg')  # what it predicts
    with record(adapter, 1) as seen:
        raw = head(features)
    adapter.check_outputs(raw, train)
    assert list(seen.outputs) == names
    assert seen.outputs['reg'][0] is raw[-1][0]
    continued = adapter.forward_from(seen.intermediates, 1, LEVELS)
    torch.testing.assert_close(
        continued, {name: seen.outputs[name] for name in adapter.outputs})
    # pixels, at random weights near the unit of the level
    units = head.reg_denoms if norm_type == 'reg_denom' else head.strides
    for level, unit in enumerate(units):
        found = continued['reg'][level].mean().item()
        assert found == pytest.approx(unit, rel=0.5)


@pytest.mark.parametrize('boxes', [(2, 3), (0, 0)], ids=str)
@pytest.mark.parametrize('change', [
    dict(), dict(sync_num_pos=False), dict(use_vfl=False),
    dict(use_vfl=False, use_atss=False)], ids=str)
def test_targets_are_those_of_the_heads_own_loss(change, boxes):
    model = build(plain_cfg('vfnet', **change))
    head = model.bbox_head
    adapter = adapter_of(head)
    inputs, samples = padded_batch(boxes)
    calls = given_to(head.loss_cls)
    with record(adapter) as seen:
        head.loss(model.extract_feat(inputs), samples)
    targets = adapter.targets(seen, 2)
    (args, kwargs), = calls
    assert [x.shape for x in targets.labels['cls']] == [
        (2, 96), (2, 24), (2, 6)]
    labels = by_level(targets.labels['cls'])
    positives = adapter.is_class(labels)
    assert positives.any() == any(boxes)
    # without positives and without ranks to ask, mmdet divides zero by zero
    assert targets.normalizers['cls'] == max(kwargs['avg_factor'], 1)
    assert targets.normalizers['cls'] == max(positives.sum(), 1)
    if head.use_vfl:  # IoU of the classes of positives, without weights
        assert not (args[1].any(1) & ~positives).any()
        assert 'weight' not in kwargs and targets.weights['cls'] is None
        return
    assert torch.equal(labels, args[1])
    if not head.use_atss:  # FCOS's, which has none
        assert kwargs['weight'] is None and targets.weights['cls'] is None
        return
    weights = by_level(targets.weights['cls'])
    assert torch.equal(weights, kwargs['weight'])
    assert 0 < weights.mean() < 1  # less in the padding


def test_initial_boxes_are_not_distilled():
    """A teacher, which predicts, has none; the student's learn by their own.
    """
    model = build(distiller_cfg('vfnet'))
    assert model.teacher.head.outputs == ('cls', 'reg')
    assert model.head_adapter.outputs == ('cls', 'reg')
    losses = model.loss(*batch())
    assert {key for key in losses if key.endswith('_kd')} == {
        'loss_cls_kd', 'loss_reg_kd'}
    with record(model.head_adapter) as seen:
        model.bbox_head.loss(model.extract_feat(batch()[0]), batch()[1])
    assert list(seen.outputs) == ['cls', 'initial', 'reg']


@pytest.mark.parametrize('name, reached', [
    ('cls', {'cls', 'reg'}), ('reg', {'reg'})])
def test_gradients_are_those_of_the_head_and_reach_both_branches(name,
                                                                 reached):
    """Scores are read where the box of the other branch says."""
    head, adapter, features = head_and_features()
    head.requires_grad_(False)
    given = {branch: [x.detach().requires_grad_() for x in features]
             for branch in ('cls', 'reg')}
    ran = []
    head.vfnet_reg_refine_dconv.register_forward_hook(
        lambda *_: ran.append(1))
    maps = adapter.forward_from(given, 0, LEVELS, {name})
    assert list(maps) == [name]
    assert bool(ran) == (name == 'reg')  # only what is asked for
    sum(x.sigmoid().sum() for x in maps[name]).backward()
    assert {b for b, xs in given.items() if xs[0].grad is not None
            and xs[0].grad.any()} == reached
    whole = adapter.named(head(features), training=True)[name]
    sum(x.sigmoid().sum() for x in whole).backward()
    for level, x in enumerate(features):
        parts = [given[b][level].grad for b in reached]
        torch.testing.assert_close(sum(parts), x.grad)


def test_no_copy_from_the_host_is_added():
    """The head sends its offsets to the device in every call, we once."""
    _, adapter, _ = head_and_features()
    head = adapter.head
    with pretend_device() as counts:
        boxes = torch.full((1, 4, 2, 3), 8.).to(DEVICE)
        copies, found = [], []
        for find in (head.star_dcn_offset, head.star_dcn_offset,
                     adapter._sides, adapter._sides):
            counts.reset()
            given = (0, ) if find == adapter._sides else (0.1, 8)
            found.append(find(boxes, *given))
            copies.append(counts.copies)
        assert copies[0] == copies[1] == 1 and copies[3] == 0
        for offsets in found:
            torch.testing.assert_close(offsets.cpu(), found[0].cpu())


@pytest.mark.parametrize('method', METHODS)
def test_every_method(method):
    check_method('vfnet', method)


@pytest.mark.slow
def test_losses_fall(shapes_root, tmp_path):
    check_losses_fall('crosskd_r50_vfnet_r101_fpn_1x_coco.py', shapes_root,
                      tmp_path, 'vfnet/vfnet_r50_fpn_1x_coco.py', epochs=16)
