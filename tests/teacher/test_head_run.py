"""Of the teacher's head runs what is needed."""
import pytest
import torch
from helpers import (
    BCE,
    KINDS,
    batch,
    build,
    distiller_cfg,
    head_cfg,
    runs_of,
    sdd_cfg,
    total,
)
from mmdet.models.dense_heads import GFLHead
from mmdet.registry import MODELS

from crosskd.heads import adapter_of
from crosskd.teacher.head_run import HeadRun

LAST = dict(retina='retina_{}', gfl='gfl_{}', atss='atss_{}', fcos='conv_{}')


class ChangedGFLHead(GFLHead):

    def forward(self, x):
        cls, reg = super().forward(x)
        return tuple(map(self.change, cls)), reg


@MODELS.register_module()
class ShiftedGFLHead(ChangedGFLHead):
    """Its forward does more than its layers tell."""

    def change(self, logits):
        return logits + 1


@MODELS.register_module()
class SlightlyOtherGFLHead(ChangedGFLHead):
    """By less than TF32 rounds."""

    def change(self, logits):
        return logits * (1 + 1e-4)


@MODELS.register_module()
class ClampedGFLHead(ChangedGFLHead):
    """On no features but unusual ones."""

    def change(self, logits):
        return logits.clamp(min=-4.6, max=-4.59)


@MODELS.register_module()
class OtherLevelsGFLHead(GFLHead):
    """The same in the method of one level."""

    def forward_single(self, x, scale):
        cls, reg = super().forward_single(x, scale)
        return cls * (1 + 1e-4), reg


def head_of(kind, **kwargs):
    torch.manual_seed(0)
    head = MODELS.build(head_cfg(kind, **kwargs)).eval()
    rng = torch.Generator().manual_seed(0)
    features = tuple(torch.randn(2, 8, 12 // s, 16 // s, generator=rng)
                     for s in (1, 2, 4))
    return adapter_of(head), features


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('split', [None, 0, 1, 2])
@torch.no_grad()
def test_scores_alone_need_the_cls_branch_alone(kind, split):
    head, features = head_of(kind)
    run = HeadRun()
    whole = run(head, features, split, {'cls', 'reg', 'cross_head'})
    classes, boxes = (runs_of(layers[-1]) for layers in (
        head.head.cls_convs, head.head.reg_convs))
    part = run(head, features, split, {'cls'})
    assert (len(classes), len(boxes)) == (3, 0)
    assert set(part.outputs) == {'cls'} and part.sizes == whole.sizes
    for ours, theirs in zip(part.outputs['cls'], whole.outputs['cls']):
        assert torch.equal(ours, theirs)
    expected = {b: m for b, m in whole.intermediates.items()
                if b == 'cls' or split == 0}
    assert part.intermediates.keys() == expected.keys()
    for branch, maps in expected.items():
        assert all(map(torch.equal, part.intermediates[branch], maps))


@torch.no_grad()
def test_all_outputs_are_those_of_the_heads_own_forward():
    head, features = head_of('gfl')
    run, runs = HeadRun(), []
    head.head.register_forward_hook(lambda *_: runs.append(1))
    for _ in range(3):
        assert run(head, features, 1, {'reg'}).raw is not None
    assert len(runs) == 3


@torch.no_grad()
def test_a_head_that_does_more_runs_itself(caplog):
    head, features = head_of('gfl')
    plain = HeadRun()(head, features, None, {'cls'})
    more, _ = head_of('gfl', type='ShiftedGFLHead')
    run = HeadRun()
    for _ in range(2):
        seen = run(more, features, None, {'cls'})
        for ours, theirs in zip(seen.outputs['cls'], plain.outputs['cls']):
            torch.testing.assert_close(ours, theirs + 1)


@pytest.mark.parametrize('type', [
    'SlightlyOtherGFLHead', 'ClampedGFLHead', 'OtherLevelsGFLHead'])
@torch.no_grad()
def test_a_subclass_with_a_forward_of_its_own_runs_it(type):
    head, features = head_of('gfl', type=type)
    run = HeadRun()
    for factor in (1, 100):
        maps = tuple(factor * x for x in features)
        expected = head.named(head.head(maps), training=False)['cls']
        found = run(head, maps, None, {'cls'})
        assert all(map(torch.equal, found.outputs['cls'], expected))


@pytest.mark.parametrize('name', ['forward', 'forward_single'])
@pytest.mark.parametrize('when', ['before', 'after'])
@torch.no_grad()
def test_a_forward_of_the_instance_is_a_forward_of_its_own(when, name):
    """As others wrap modules, such as accelerate, before or in training."""
    head, features = head_of('gfl')
    run, forward = HeadRun(), getattr(head.head, name)
    if when == 'after':
        run(head, features, None, {'cls'})
    setattr(head.head, name, lambda x, *rest: forward(
        type(x)(2 * maps for maps in x) if name == 'forward' else 2 * x,
        *rest))
    expected = head.named(head.head(features), training=False)['cls']
    found = run(head, features, None, {'cls'})
    assert all(map(torch.equal, found.outputs['cls'], expected))
    delattr(head.head, name)
    runs = runs_of(head.head.reg_convs[-1])
    run(head, features, None, {'cls'})
    assert when == 'before' or not runs


@pytest.mark.parametrize('first', [float('nan'), float('inf'), 0.0, 1e30])
@torch.no_grad()
def test_what_runs_does_not_depend_on_the_first_features(first):
    head, features = head_of('gfl')
    run, state = HeadRun(), torch.get_rng_state()
    run(head, tuple(torch.full_like(x, first) for x in features), None,
        {'cls'})
    runs = runs_of(head.head.reg_convs[-1])
    run(head, features, None, {'cls'})
    assert not runs
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('name', ['', 'cls_convs.0', 'reg_convs.1.conv',
                                  'gfl_reg'])
@pytest.mark.parametrize('kind', ['forward_hook', 'forward_pre_hook'])
@torch.no_grad()
def test_a_head_that_somebody_looks_at_runs_itself(name, kind):
    head, features = head_of('gfl')
    run, seen = HeadRun(), []
    for _ in range(2):
        without = run(head, features, 1, {'cls'})
    handle = getattr(head.head.get_submodule(name), f'register_{kind}')(
        lambda m, *_: seen.append(m))
    found = run(head, features, 1, {'cls'})
    assert len(seen) == (3 if name else 1)  # levels
    assert set(found.outputs) == {'cls', 'reg'}
    handle.remove()
    again = run(head, features, 1, {'cls'})
    assert set(again.outputs) == {'cls'}
    for other in (found, again):
        assert all(map(torch.equal, other.outputs['cls'],
                       without.outputs['cls']))


@torch.no_grad()
@pytest.mark.parametrize('split, count', [(None, 0), (1, 1)])
def test_cross_head_predictions_of_such_a_head_are_warned_of(
        monkeypatch, split, count):
    said = []
    monkeypatch.setattr('crosskd.teacher.head_run.print_log',
                        lambda message, **kwargs: said.append(message))
    head, features = head_of('gfl', type='ShiftedGFLHead')
    run = HeadRun()
    for _ in range(2):
        run(head, features, split, {'cls', 'reg'})
    assert len(said) == count
    assert all('GFLHeadAdapter does not fully know the head ShiftedGFLHead'
               in x for x in said)


@pytest.mark.parametrize('kind', KINDS)
def test_the_regression_tower_of_a_teacher_of_logits_does_not_run(kind):
    model = build(sdd_cfg(kind))
    first = total(model.loss(*batch()))  # in which the head runs itself
    runs = runs_of(model.teacher.detector.bbox_head.reg_convs[-1])
    again = total(model.loss(*batch()))
    needs = model.distillers.needs
    assert bool(runs) == ('reg' in needs.outputs)
    for name, value in first.items():
        assert again[name] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize('kind', ['atss', 'fcos'])
def test_quality_is_run_where_it_is_distilled(kind):
    for loss, count in ((None, 0), (BCE, 3)):
        model = build(distiller_cfg(kind, loss_center_kd=loss))
        head = model.teacher.detector.bbox_head
        model.loss(*batch())
        runs = runs_of(getattr(head, LAST[kind].format('centerness')))
        model.loss(*batch())
        assert len(runs) == 2 * count  # and in cross-head predictions
