"""DDOD: each branch has targets of its own, and levels are counted."""
import pytest
import torch
from data_sets import images
from experiments import model_cfg
from family_checks import (
    by_level,
    check_losses_fall,
    check_method,
    given_to,
    padded_batch,
)
from helpers import METHODS, batch, build, distiller_cfg, plain_cfg
from resuming import resumed_and_whole

from crosskd.compat.mmcv_ext import is_installed
from crosskd.engine.trial import try_pair
from crosskd.heads import adapter_of, record

COUNTS = ('cls_num_pos_samples_per_level', 'reg_num_pos_samples_per_level')
needs_ops = pytest.mark.skipif(
    is_installed(), reason='needs compiled ops of mmcv')


def test_each_branch_has_the_targets_of_its_own_losses():
    model = build(plain_cfg('ddod'))
    head = model.bbox_head
    adapter = adapter_of(head)
    inputs, samples = padded_batch((2, 5), seed=1)
    to_cls, to_box, to_iou = map(
        given_to, (head.loss_cls, head.loss_bbox, head.loss_iou))
    with record(adapter) as seen:
        head.loss(model.extract_feat(inputs), samples)
    targets = adapter.targets(seen, 2)

    assert len(to_cls) == 3  # of each level
    assert torch.equal(by_level(targets.labels['cls']),
                       torch.cat([args[1] for args, _ in to_cls]))
    weights = by_level(targets.weights['cls'])
    assert torch.equal(weights, torch.cat([args[2] for args, _ in to_cls]))
    assert 0 < weights.mean() < 1  # less in the padding
    assert {kwargs['avg_factor'] for _, kwargs in to_cls} == {
        targets.normalizers['cls']}

    # called on the levels that have positives
    assert targets.labels['quality'] is targets.labels['reg']
    positives = [adapter.is_class(x).flatten() for x in targets.labels['reg']]
    own = [args[2] for args, _ in to_iou]
    assert [x.tolist() for x in positives if x.any()] == [
        x.bool().tolist() for x in own]
    assert [len(args[0]) for args, _ in to_box] == [
        int(x.sum()) for x in own]
    assert {kwargs['avg_factor'] for _, kwargs in to_box + to_iou} == {
        targets.normalizers['reg']} == {targets.normalizers['quality']}
    assert torch.equal(by_level(targets.weights['reg']), weights)

    # and not those of the other branch
    assert targets.normalizers['cls'] != targets.normalizers['reg']
    assert not torch.equal(by_level(targets.labels['cls']),
                           by_level(targets.labels['reg']))


def test_images_without_objects():
    model = build(distiller_cfg('ddod'))
    losses = model.loss(*batch((0, 0)))
    assert all(sum(loss).isfinite() for loss in losses.values())
    assert sum(losses['loss_cls_kd']) > 0
    assert sum(losses['loss_center_kd']) == 0


@pytest.mark.parametrize('method', METHODS)
def test_every_method(method):
    check_method('ddod', method)


def test_a_trial_does_not_count(shapes_root):
    model = build(model_cfg(distiller_cfg('ddod')))
    head = model.bbox_head
    counts = [getattr(head, name) for name in COUNTS]
    try_pair(model, images(shapes_root, (64, 64)))
    assert counts == [[0, 0, 0]] * 2
    # the very lists, which somebody may hold
    assert all(getattr(head, name) is x for name, x in zip(COUNTS, counts))
    model.loss(*batch())  # which does
    assert sum(counts[0]) > 0


def test_counts_of_levels_are_resumed(tmp_path):
    model = distiller_cfg('ddod')
    # of boxes of this size, positives are on several levels
    model['bbox_head']['anchor_generator']['octave_base_scale'] = 2
    torch.testing.assert_close(
        *resumed_and_whole(tmp_path, model=model), rtol=0, atol=0)
    saved = torch.load(tmp_path / 'whole/epoch_1.pth', weights_only=False)
    counts, = saved['module_attributes'].values()
    assert list(counts) == [COUNTS[0]]  # mmdet counts both in one list
    assert sum(map(bool, counts[COUNTS[0]])) > 1


@needs_ops
@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('split', [0, 1, 2])
def test_a_deformable_convolution_first(split, train):
    model = build(plain_cfg('ddod', use_dcn=True)).train(train)
    head = model.bbox_head.requires_grad_(False)
    adapter = adapter_of(head)
    features = [x.detach().requires_grad_() for x in model.extract_feat(
        batch(size=(96, 128))[0])]
    with record(adapter, split) as seen:
        outputs = adapter.named(head(features), train)
    continued = adapter.forward_from(seen.intermediates, split, (0, 1, 2))
    torch.testing.assert_close(continued, outputs)
    ours, theirs = (
        torch.autograd.grad(sum(x.sigmoid().sum() for maps in made.values()
                                for x in maps), features, retain_graph=True)
        for made in (continued, outputs))
    torch.testing.assert_close(ours, theirs)


def test_losses_fall(shapes_root, tmp_path):
    # deformable convolutions take no maps as small as the last ones
    check_losses_fall('crosskd_r18_ddod_r50_fpn_1x_coco.py', shapes_root,
                      tmp_path, 'ddod/ddod_r50_fpn_1x_coco.py', '''
model['bbox_head']['use_dcn'] = False
''')
