"""TOOD: split before its one trunk, scores and boxes as its outputs."""
import pytest
import torch
from family_checks import (
    by_level,
    check_losses_fall,
    check_method,
    given_to,
    padded_batch,
)
from helpers import (
    GIOU,
    METHODS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    total,
    wide_teacher,
)
from mmengine.logging import MessageHub

from crosskd.compat.mmcv_ext import is_installed
from crosskd.heads import adapter_of, record

pytestmark = pytest.mark.skipif(
    is_installed(), reason='needs compiled ops of mmcv')
LEVELS = (0, 1, 2)
ANCHORS = ('anchor_free', 'anchor_based')


@pytest.fixture
def epoch():
    """Sets the epoch that the head asks mmengine for."""
    told = MessageHub.get_current_instance().runtime_info
    before = told.get('epoch')
    yield lambda number: told.update(epoch=number)
    told['epoch'] = before or 0


def head_and_features(train=True, **kwargs):
    model = build(plain_cfg('tood', **kwargs)).train(train)
    # as if it had learned where to look
    torch.nn.init.normal_(model.bbox_head.reg_offset_module[-1].bias, std=2)
    features = [x.detach().requires_grad_()
                for x in model.extract_feat(batch()[0])]
    return model.bbox_head, adapter_of(model.bbox_head), features


@pytest.mark.parametrize('anchor_type', ANCHORS)
@pytest.mark.parametrize('train', [True, False])
def test_own_features_are_the_heads_predictions(anchor_type, train):
    head, adapter, features = head_and_features(
        train, anchor_type=anchor_type)
    head.requires_grad_(False)
    scores, boxes = head(features)
    given = {branch: [x.detach().requires_grad_() for x in features]
             for branch in ('cls', 'reg')}
    made = adapter.forward_from(given, 0, LEVELS)
    for level in LEVELS:
        torch.testing.assert_close(made['cls'][level].sigmoid(),
                                   scores[level])
        torch.testing.assert_close(made['reg'][level], boxes[level])
    # an error of a task reaches that task's features alone
    sum(x.sum() for x in made['reg']).backward()
    assert all(x.grad is None for x in given['cls'])
    theirs = torch.autograd.grad(sum(x.sum() for x in boxes), features)
    torch.testing.assert_close([x.grad for x in given['reg']], list(theirs))


@pytest.mark.parametrize('anchor_type', ANCHORS)
def test_boxes_are_in_pixels(anchor_type):
    head, adapter, features = head_and_features(anchor_type=anchor_type)
    maps = list(head(features)[1])
    geometry = adapter.geometry([x.shape[2:] for x in maps], LEVELS,
                                torch.device('cpu'))
    reg = adapter.flatten('reg', maps, geometry, training=True)
    found = adapter.boxes(reg, geometry)
    expected = torch.cat([
        x.permute(0, 2, 3, 1).reshape(2, -1, 4) * stride
        for x, stride in zip(maps, (8, 16, 32))], 1)
    torch.testing.assert_close(found.view(2, -1, 4), expected)


def test_logits_of_scores():
    scores = torch.tensor([0., 0.25, 0.5, 1.])
    adapter = head_and_features()[1]
    cls = adapter.named(([scores.view(1, 1, 1, 4)], []),
                        training=True)['cls'][0].flatten()
    assert cls.isfinite().all()
    torch.testing.assert_close(cls.sigmoid(), scores, atol=2e-6, rtol=0)


@pytest.mark.parametrize('boxes', [(2, 3), (0, 0)], ids=str)
@pytest.mark.parametrize('number', [0, 3, 4])
def test_both_phases_have_the_normaliser_of_the_head(number, boxes, epoch):
    """Before the fourth epoch positives are counted, then rated."""
    model = build(plain_cfg('tood'))
    head = model.bbox_head
    adapter = adapter_of(head)
    epoch(number)
    inputs, samples = padded_batch(boxes)
    first, later = given_to(head.initial_loss_cls), given_to(head.loss_cls)
    with record(adapter) as seen:
        losses = head.loss(model.extract_feat(inputs), samples)
    targets = adapter.targets(seen, 2)
    used, unused = (first, later) if number < 4 else (later, first)
    assert len(used) == 3 and not unused
    labels = [args[1] for args, _ in used]
    if number >= 4:
        labels, metrics = zip(*labels)
        # a sum, whose order is mmdet's in one and ours in the other
        torch.testing.assert_close(torch.cat(metrics).sum().clamp(min=1),
                                   targets.normalizers['cls'])
    assert torch.equal(by_level(targets.labels['cls']), torch.cat(labels))
    weights = by_level(targets.weights['cls'])
    assert torch.equal(weights, torch.cat([args[2] for args, _ in used]))
    assert 0 < weights.mean() < 1  # less in the padding
    positives = adapter.is_class(torch.cat(labels)).sum()
    if number < 4 or not any(boxes):
        assert targets.normalizers['cls'] == max(positives, 1)
    # what the head divided by
    loss = (head.initial_loss_cls if number < 4 else head.loss_cls)
    args, kwargs = used[0]
    torch.testing.assert_close(
        loss(*args, **kwargs) / targets.normalizers['cls'],
        losses['loss_cls'][0])


@pytest.mark.parametrize('split', [1, 3, (0, 1), (1, 0)], ids=str)
def test_a_deeper_split_is_refused(split):
    whose = 'student' if split != (0, 1) else 'teacher'
    with pytest.raises(ValueError, match='reused_teacher_head_idx must be '
                       rf"between 0 .*\(0 in the {whose}'s head\).*both "
                       'tasks of a TOOD head read all layers of its trunk'):
        build(distiller_cfg('tood', reused_teacher_head_idx=split))


@pytest.mark.parametrize('times', [1, 2])
@pytest.mark.parametrize('student, teacher, split', [
    ('gfl', 'tood', (1, 0)), ('tood', 'gfl', (0, 1))])
def test_it_is_split_elsewhere_than_its_partner(student, teacher, split,
                                                times):
    model = build(wide_teacher(distiller_cfg(
        student, teacher_kind=teacher, loss_reg_kd=GIOU,
        reused_teacher_head_idx=split), times))
    losses = model.loss(*batch())
    found = total(losses)
    assert 0 < found['loss_cls_kd'] < 100 and 0 < found['loss_reg_kd'] < 100
    sum(losses['loss_cls_kd'] + losses['loss_reg_kd']).backward()
    assert len(model.pair.adapters) == 2 * (times - 1)
    learn = [model.neck.lateral_convs[0].conv.weight,
             *model.pair.parameters()]
    if student == 'gfl':  # the layer of each branch that is kept
        learn += [model.bbox_head.cls_convs[0].conv.weight,
                  model.bbox_head.reg_convs[0].conv.weight]
        assert model.bbox_head.cls_convs[1].conv.weight.grad is None
    assert all(p.grad is not None and p.grad.any() for p in learn)


@pytest.mark.parametrize('method', METHODS)
def test_every_method(method):
    check_method('tood', method)


@pytest.mark.slow
def test_losses_fall(shapes_root, tmp_path):
    # when positives are rated, losses are divided by less and rise once
    check_losses_fall(
        'crosskd_r50_tood_r101-2x-ms_fpn_1x_coco.py', shapes_root, tmp_path,
        'tood/tood_r50_fpn_1x_coco.py',
        "model['train_cfg'] = dict(initial_epoch=8)\n", epochs=8)
