"""Weights of a checkpoint: which are taken, left out and refused."""
from collections import OrderedDict

import pytest
import torch
from helpers import build, plain_cfg

from crosskd.teacher import loading


@pytest.fixture(scope='module')
def weights():
    return build(plain_cfg('gfl', 16), seed=5).state_dict()


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(loading, 'print_log',
                        lambda text, **kwargs: lines.append(text))
    return lines


def load(checkpoint, cfg=None):
    detector = build(cfg or plain_cfg('gfl', 16), seed=6)
    loading.load_strictly(detector, checkpoint, 'teacher_ckpt=x')
    return detector.state_dict()


def check_equal(loaded, expected):
    assert loaded.keys() == expected.keys()
    for key, value in loaded.items():
        assert torch.equal(value, expected[key]), key


def prefixed(prefix, weights):
    return OrderedDict((prefix + k, v) for k, v in weights.items())


def others(weights):
    """Weights of the same shapes."""
    return OrderedDict((k, v + 1) for k, v in weights.items())


def inside(weights, word):
    """The names that a wrapper around the backbone alone makes."""
    return OrderedDict(
        (k.replace('backbone.', f'backbone.{word}.'), v)
        for k, v in weights.items())


# -- what no layer has -------------------------------------------------------

ONE = torch.ones(1)
SUPERFLUOUS = dict(
    preprocessor={'data_preprocessor.mean': ONE, 'data_preprocessor.std': ONE},
    mmdet2_ema={'ema_backbone_conv1_weight': ONE},
    thop={'total_ops': ONE, 'backbone.total_ops': ONE,
          'backbone.layer1.0.conv1.total_params': ONE},
    another_part={'mask_head.conv.weight': ONE},
    counts={'bbox_head.gfl_cls.num_batches_tracked': ONE},
    beside={'teacher.backbone.conv1.weight': ONE})


@pytest.mark.parametrize('name', SUPERFLUOUS)
def test_what_no_layer_has_is_left_out_and_said_once(weights, said, name):
    extra = SUPERFLUOUS[name]
    check_equal(load(dict(state_dict={**weights, **extra})), weights)
    assert said == [f'teacher_ckpt=x: left out {len(extra)} that no layer '
                    f'has: {", ".join(extra)}']


def test_many_left_out_are_counted(weights, said):
    load(dict(state_dict={**weights, **prefixed('ema_', weights)}))
    (line, ) = said
    assert f'left out {len(weights)} that no layer has: ema_' in line
    assert len(line) < 250


def test_a_plain_checkpoint_says_nothing(weights, said):
    load(dict(state_dict=weights, meta={}, optimizer=dict(
        state={0: dict(exp_avg=weights['bbox_head.gfl_cls.weight'])})))
    load(weights)
    load(dict(state_dict=prefixed('module.', weights)))
    assert said == []


def test_weights_inside_a_part_are_another_detectors(weights):
    for key in ('backbone.layer3.6.conv1.weight', 'neck.fpn_convs.5.conv.bias',
                'bbox_head.controller.weight',
                'bbox_head.gfl_cls.running_mean'):
        with pytest.raises(ValueError, match=f'1 unexpected: {key}'):
            load(dict(state_dict={**weights, key: ONE}))


def test_a_deeper_backbone_of_the_same_family_is_refused(weights):
    """It has every weight of the shallow one, in the same shapes."""
    deep = plain_cfg('gfl', 16)
    deep['backbone'].update(depth=34)
    state = build(deep).state_dict()
    assert all(state[k].shape == v.shape for k, v in weights.items())
    with pytest.raises(ValueError, match=r'unexpected: backbone\.layer1\.2'):
        load(dict(state_dict=state))


def test_a_neck_that_the_detector_lacks_is_refused():
    cfg = plain_cfg('gfl', 8)
    state = build(cfg).state_dict()
    cfg.update(type='SingleStageDetector', neck=None)
    kept = {k: v for k, v in state.items() if not k.startswith('neck')}
    check_equal(load(dict(state_dict=kept), cfg), kept)
    with pytest.raises(ValueError, match='12 unexpected: neck.lateral_convs'):
        load(dict(state_dict=state), cfg)


def test_an_error_names_what_is_of_no_part(weights):
    with pytest.raises(ValueError) as error:
        load({k.removeprefix('backbone.'): v for k, v in weights.items()
              if k.startswith('backbone')})
    assert 'missing: backbone.conv1.weight' in str(error.value)
    assert 'left out: conv1.weight' in str(error.value)


def test_an_old_name_of_another_shape_is_refused():
    cfg = plain_cfg('fcos', 16)
    state = dict(build(cfg).state_dict())
    state['bbox_head.fcos_cls.weight'] = torch.ones(80, 8, 3, 3)
    del state['bbox_head.conv_cls.weight']
    with pytest.raises(ValueError, match=r'conv_cls\.weight.*80'):
        load(state, cfg)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 1e6])
def test_weights_of_a_training_that_diverged_are_refused(weights, value):
    """1e6 is finite in float32, and infinite in float16."""
    key = 'bbox_head.gfl_reg.weight'
    broken = dict(weights, **{key: weights[key].clone()})
    broken[key][0, 0, 0, 0] = value
    if value == 1e6:
        check_equal(load(dict(state_dict=broken)), broken)
        broken[key] = broken[key].half()
    with pytest.raises(ValueError, match=f'1 not finite: {key}$'):
        load(dict(state_dict=broken))


@pytest.mark.parametrize('kind', [torch.int8, torch.uint8, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(weights, kind):
    """Such as those of a quantised detector, without their scales."""
    key = 'backbone.conv1.weight'
    with pytest.raises(ValueError, match=rf'1 of another type: {key} '
                       rf'\({kind}\), expected torch.float32'):
        load(dict(state_dict={**weights, key: weights[key].to(kind)}))


@pytest.mark.parametrize('kind', [torch.float16, torch.bfloat16,
                                  torch.float64])
def test_weights_of_another_precision_are_taken(weights, kind):
    loaded = load(dict(state_dict={k: v.to(kind) for k, v in weights.items()}))
    check_equal(loaded, {k: v.to(kind).to(v.dtype)
                         for k, v in weights.items()})


# -- where the weights are ---------------------------------------------------


@pytest.mark.parametrize('where', [
    ('state_dict', 'state_dict'), ('model', ), ('ema_state_dict', ),
    ('state_dict_ema', ), ('model_ema', )])
def test_weights_in_another_dict_are_taken_and_said(weights, said, where):
    checkpoint = dict(prefixed('module.', weights), steps=torch.tensor(3))
    for key in reversed(where):
        checkpoint = {key: checkpoint}
    check_equal(load(checkpoint), weights)
    assert said == [f"teacher_ckpt=x: read from {'.'.join(where)}: names that "
                    "begin with 'module.'; left out 1 that no layer has: "
                    'steps']


@pytest.mark.parametrize('prefix', [
    'architecture.', 'student.', 'teacher.', 'module.student.', 'model.'])
def test_another_prefix_is_taken_and_said(weights, said, prefix):
    state = prefixed(prefix, weights)
    small = build(plain_cfg('gfl', 8)).state_dict()
    check_equal(load(dict(state_dict={
        **state, **prefixed('other.', small)})), weights)
    (line, ) = said
    assert f'read from state_dict: names that begin with {prefix!r}' in line
    assert f'left out {len(small)} that no layer has: other.backbone' in line


@pytest.mark.parametrize('wrap', [
    lambda w: prefixed('_orig_mod.', w),
    lambda w: prefixed('_orig_mod.module.', w),
    lambda w: prefixed('module._orig_mod.', w),
    lambda w: inside(w, '_orig_mod'),
    lambda w: inside(w, '_checkpoint_wrapped_module')])
def test_names_of_torchs_wrappers_are_no_part_of_a_name(weights, wrap):
    check_equal(load(dict(state_dict=wrap(weights))), weights)


def test_versions_of_layers_survive_a_prefix():
    """By them a layer decides whether a key is an old name."""
    cfg = plain_cfg('fcos', 16)
    state = build(cfg).state_dict()
    renamed = prefixed('student.', state)
    renamed._metadata = {f'student.{k}'.removesuffix('.'): v
                         for k, v in state._metadata.items()}
    check_equal(load(renamed, cfg), state)
    weight = renamed.pop('student.bbox_head.conv_cls.weight')
    renamed['student.bbox_head.foo_cls.weight'] = weight
    with pytest.raises(ValueError, match=r'read from names that begin with '
                       r"'student\.': 1 missing.*1 unexpected"):
        load(renamed, cfg)


def test_mmengines_average_is_its_state_dict(weights, said):
    """EMAHook saves the averages there, and the others beside them."""
    check_equal(load(dict(state_dict=weights, ema_state_dict=dict(
        prefixed('module.', others(weights)), steps=ONE))), weights)
    assert said == ['teacher_ckpt=x: ema_state_dict: names that begin with '
                    "'module.' would fit, too, but was not used"]


@pytest.mark.parametrize('sets', [('student.', 'teacher.'),
                                  ('architecture.', 'teacher.')])
def test_two_sets_that_fit_are_an_error_that_names_them(weights, sets):
    first, second = sets
    with pytest.raises(ValueError, match='more than one set') as error:
        load(dict(state_dict={**prefixed(first, weights),
                              **prefixed(second, others(weights))}))
    for name in sets:
        assert f'state_dict: names that begin with {name!r}' in str(
            error.value)


def test_two_dicts_that_fit_are_an_error_that_names_them(weights):
    with pytest.raises(ValueError, match='model; model_ema'):
        load(dict(model=weights, model_ema=others(weights)))


def test_a_state_dict_that_does_not_fit_gives_way_to_the_one_that_does(
        weights, said):
    small = build(plain_cfg('gfl', 8)).state_dict()
    check_equal(load(dict(state_dict=small, ema_state_dict=weights)), weights)
    assert said == ['teacher_ckpt=x: read from ema_state_dict']


def test_weights_are_looked_for_in_two_dicts_and_no_deeper(weights, said):
    """Where an optimizer keeps what are no weights."""
    check_equal(load(dict(ema=dict(model=weights))), weights)
    assert said == ['teacher_ckpt=x: read from ema.model']
    with pytest.raises(ValueError, match='holds no weights'):
        load(dict(optimizer=dict(state={0: weights})))
