"""Features of any module by its name, with measured channels and strides."""
import pytest
import torch
from helpers import batch, build, distiller_cfg, plain_cfg, total
from torch import nn

from crosskd.engine.trial import try_pair
from crosskd.errors import ConfigError
from crosskd.taps import (
    HEAD_INPUT,
    Level,
    Needs,
    Tap,
    measure,
    read_tap,
    run_to,
    tapped,
)

PKD = dict(type='PKDLoss', loss_weight=6.0)


@pytest.fixture(scope='module')
def plain():
    return build(plain_cfg('gfl')).eval()


def levels(detector, *taps):
    found, = measure({'model': detector}, [
        {str(tap): tap for tap in taps}])
    return [found[str(tap)] for tap in taps]


def test_channels_and_strides_are_measured(plain):
    given, neck, stage = levels(plain, HEAD_INPUT, Tap('neck'),
                                Tap('backbone.layer2'))
    strides = plain.bbox_head.prior_generator.strides
    width = plain.bbox_head.in_channels
    assert given == neck == [
        Level(width, (float(s[1]), float(s[0]))) for s in strides]
    assert stage == [Level(plain.backbone.layer2[-1].conv2.out_channels,
                           (8.0, 8.0))]


def test_measuring_leaves_no_trace(plain):
    plain.train()
    before = {k: v.clone() for k, v in plain.state_dict().items()}
    state = torch.random.get_rng_state()
    levels(plain, Tap('backbone'))
    assert plain.training and plain.backbone.bn1.training
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, before[name]), name
    plain.eval()


def test_further_calls_of_a_module_are_levels(plain):
    """A layer of the head runs once a level."""
    layer, = levels(plain, Tap('bbox_head.cls_convs.0'))
    strides = plain.bbox_head.prior_generator.strides
    assert [level.stride[0] for level in layer] == [s[0] for s in strides]


class Tokens(nn.Module):
    """Tensors in all that a module may return."""

    def forward(self, x):
        return dict(rows=x, others=[(x * 2, 'text', None), x[..., :3]])


def test_tokens_are_maps_and_what_is_no_tensor_is_passed_over():
    model = nn.Sequential(Tokens())
    x = torch.randn(2, 5, 4)
    with tapped(model, {'a': Tap('0'), 'b': Tap('0', 'input')}) as found:
        model(x)
    ours, twice, some = found['a']
    assert ours.shape == (2, 4, 5, 1) and some.shape == (2, 3, 5, 1)
    assert torch.equal(ours[1, 2, 3, 0], x[1, 3, 2])
    assert torch.equal(twice, ours * 2)
    assert torch.equal(found['b'][0], ours)
    # the hooks are gone
    model(x)
    assert len(found['a']) == 3


def test_no_more_of_a_detector_runs_than_its_taps_need(plain):
    inputs, samples = batch()
    calls = []
    hook = plain.bbox_head.register_forward_hook(
        lambda *_: calls.append('head'))
    for tap, count in ((HEAD_INPUT, 0), (Tap('backbone.layer1'), 0),
                       (Tap('neck', 'input'), 0),
                       (Tap('bbox_head.reg_convs.1'), 1)):
        calls.clear()
        maps = run_to(plain, {'x': tap}, inputs, samples)['x']
        assert maps and len(calls) == count, tap
    hook.remove()


@pytest.mark.parametrize('name, words', [
    ('bakbone.layer1',
     "GFL has no module 'bakbone.layer1'.*mean 'backbone.layer1'"),
    ('neck.lateral', 'no module'),
    ('backbone.layer9', "mean 'backbone.layer[1-4]'"),
    ('zzz', 'the modules of the detector are data_preprocessor, backbone')])
def test_a_misspelt_name_is_one_error_with_a_near_one(plain, name, words):
    with pytest.raises(ConfigError, match=f'model: .*{words}'):
        levels(plain, Tap(name))


def test_a_module_that_does_not_run_is_an_error(plain):
    plain.add_module('idle', nn.Conv2d(3, 3, 1))
    with pytest.raises(ConfigError, match='no feature maps at the idle'):
        levels(plain, Tap('idle'))
    del plain.idle


@pytest.mark.parametrize('value, words', [
    (3, "must be the name of a module, such as 'neck'"),
    (dict(module=3), 'must be the name of a module'),
    (dict(module='neck', io='out'), r"io must be one of \('output', 'input'"),
    (dict(module='neck', pick=0), "unknown key 'pick'"),
    ('', 'the name of a module is empty')])
def test_what_is_no_tap_is_refused(value, words):
    with pytest.raises(ConfigError, match=f'student.*{words}'):
        read_tap('student', value)


def test_needs_may_be_names():
    assert Needs.of({'cls', 'cross_head', 'features'}) == Needs(
        frozenset({'cls'}), True, {'features': (None, None)})
    assert not Needs.of(()) and Needs.of({'features'})
    assert Needs.of({'reg'}).dense and not Needs.of({'features'}).dense
    both = Needs.of({'cls'}) | Needs.of({'features', 'cross_head'})
    assert both == Needs.of({'cls', 'features', 'cross_head'})


# -- in a training step ------------------------------------------------------


def features(student=None, teacher=None, width=16, **kd):
    cfg = distiller_cfg('gfl', **kd)
    cfg['type'] = 'DistilledSingleStageDetector'
    cfg['kd_cfg'] = dict(distillers=[dict(
        type='FeatureDistiller', loss_feat_kd=PKD, student=student,
        teacher=teacher)])
    cfg['teacher_config'] = dict(model=plain_cfg('gfl', width))
    return cfg


@pytest.mark.parametrize('student, teacher, keys', [
    (None, None, ['features']), ('neck', 'neck', ['neck__neck']),
    ('backbone.layer3', 'backbone.layer3',
     ['backbone_layer3__backbone_layer3']),
    ('backbone', None, [f'backbone__features_{i}' for i in range(3)]),
    (dict(module='bbox_head', io='input'), 'neck',
     ['input_of_bbox_head__neck'])])
def test_any_module_teaches_any_other(student, teacher, keys):
    model = build(features(student, teacher, width=32))
    try_pair(model)
    losses = model.loss(*batch())
    assert total(losses)['loss_feat_kd'] > 0
    adapters = set(model.pair.adapters)
    assert adapters <= set(keys)
    sum(losses['loss_feat_kd']).backward()
    assert model.backbone.layer1[0].conv1.weight.grad.any()
    for adapter in model.pair.adapters.values():
        assert adapter.conv.weight.grad.any()
    assert len([note for note in model.pair.notes
                if 'ChannelAdapter' in note]) == len(adapters)


def test_by_name_it_is_bit_for_bit_what_it_is_by_default():
    ours, theirs = (
        total(build(features(tap, tap)).loss(*batch()))['loss_feat_kd']
        for tap in (None, dict(module='bbox_head', io='input')))
    assert ours == theirs > 0


def test_the_log_and_the_notes_say_what_was_bridged():
    model = build(features('backbone', 'neck', width=32))
    text = '\n'.join(model.pair.notes)
    assert 'only the student has levels of stride 4' in text
    assert 'backbone, stride 8: the student has' in text


def test_maps_of_one_stride_and_another_size_are_resized():
    """As of a backbone that rounds sizes up, beside one that rounds down."""
    cfg = features('backbone.layer2', 'backbone.layer2')
    model = build(cfg)
    layer = model.teacher.detector.backbone.layer2
    layer.register_forward_hook(lambda _, args, out: out[..., :-1])
    losses = total(model.loss(*batch()))
    assert losses['loss_feat_kd'] > 0
    assert 'the student\'s are resized' in model.pair.notes[-1]
    count = len(model.pair.notes)
    model.loss(*batch())
    assert len(model.pair.notes) == count


def test_a_tap_without_a_gradient_is_an_error():
    model = build(features('backbone.layer3', 'backbone.layer3'))
    model.backbone.layer3.register_forward_hook(
        lambda _, args, out: out.detach())
    with pytest.raises(RuntimeError, match='backbone.layer3 has no gradient'):
        model.loss(*batch())


def test_two_distillers_of_other_taps_have_adapters_of_their_own():
    cfg = features('backbone.layer3', 'backbone.layer3', width=32)
    more = dict(cfg['kd_cfg']['distillers'][0], student='backbone.layer4',
                teacher='backbone.layer4')
    cfg['kd_cfg']['distillers'].append(more)
    model = build(cfg)
    with pytest.raises(ValueError, match="two distillers return a loss"):
        model.loss(*batch())
    assert len(model.pair.matched) == 2
