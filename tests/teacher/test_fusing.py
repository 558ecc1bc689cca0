"""Fused norms of a teacher: the same function, whoever looks at it."""
import copy

import pytest
import torch
from helpers import batch, build, lively, plain_cfg
from mmdet.models.backbones.resnet import BasicBlock
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.testing import assert_close

from crosskd.teacher.fusing import FusedNorms

PARTS = ('backbone', 'neck', 'bbox_head')

CONV, NORM = 'backbone.layer1.1.conv2', 'backbone.layer1.1.bn2'


class Brighter(nn.BatchNorm2d):
    """Another function, by a thousandth."""

    def forward(self, x):
        return super().forward(x) * 1.001


class Leaking(BasicBlock):
    """What a convolution makes does not go into its norm alone."""

    def forward(self, x):
        return super().forward(x) + 1e-4 * self.conv1(x).mean()


def detector(kind='gfl'):
    """One with batch norms that do something."""
    return lively(build(plain_cfg(kind)), 1.0).eval().requires_grad_(False)


def norms(model):
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@torch.no_grad()
def maps(model):
    features = model.extract_feat(batch()[0])
    return [*features, *(x for kind in model.bbox_head(features)
                         for x in kind)]


def check_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() < 1e-5 * b.norm()


def identities(model):
    """Everything of a module and what it is made of.

    But for what waits for a state dict: it stays when norms come back.
    """
    return [(name, id(m), m.training, type(m), {
        kind: {key: id(value) for key, value in vars(m)[kind].items()}
        for kind in vars(m) if isinstance(vars(m)[kind], dict)
        and kind != '_load_state_dict_pre_hooks'})
            for name, m in model.named_modules()], [
        (name, id(p), p.dtype, p.requires_grad, p.data_ptr(), p._version)
        for name, p in [*model.named_parameters(), *model.named_buffers()]]


def test_a_norm_of_single_channels_on_the_coarsest_level_hinders_nobody():
    """It needs more than one location there, as every image has."""
    cfg = plain_cfg('gfl')
    cfg['neck'].update(num_outs=5, add_extra_convs='on_output')
    head = cfg['bbox_head']
    head['anchor_generator']['strides'] = [8, 16, 32, 64, 128]
    head['norm_cfg']['num_groups'] = head['feat_channels']
    model = build(cfg).eval()
    count = norms(model)
    assert FusedNorms().settle(model, True, 3, PARTS) == (
        f'{count} of its {count} batch norms are fused into convolutions')


# -- hooks -------------------------------------------------------------------

REGISTER = dict(
    forward=lambda m, seen: m.register_forward_hook(
        lambda _, args, out: seen.append((args[0].clone(), out.clone()))),
    pre=lambda m, seen: m.register_forward_pre_hook(
        lambda _, args: seen.append((args[0].clone(), ))),
    kwargs=lambda m, seen: m.register_forward_hook(
        lambda _, args, kwargs, out: seen.append(
            (args[0].clone(), out.clone())), with_kwargs=True))


def seen_by_a_plain_one(name, register):
    model, seen = detector(), []
    register(model.get_submodule(name), seen)
    maps(model)
    return seen[0]


@pytest.mark.parametrize('hook', REGISTER)
@pytest.mark.parametrize('name', [CONV, NORM])
@pytest.mark.parametrize('when', ['before', 'after', 'after, on the original'])
def test_a_layer_with_hooks_runs_as_itself(name, hook, when):
    register = REGISTER[hook]
    expected = seen_by_a_plain_one(name, register)
    model, fused, seen = detector(), FusedNorms(), []
    plain = maps(model)
    original = model.get_submodule(name)
    if when == 'before':
        handle = register(original, seen)
    fused.settle(model, True, 3, PARTS)
    if when != 'before':
        assert norms(model) == 0 and model.get_submodule(name) is not original
        handle = register(original if 'original' in when else
                          model.get_submodule(name), seen)
        fused.settle(model, True, 3, PARTS)
    assert norms(model) == 1 and model.get_submodule(name) is original
    found = maps(model)
    check_same(found, plain)
    assert len(seen) == 1
    check_same(seen[0], expected)
    handle.remove()
    assert fused.settle(model, True, 3, PARTS).startswith('20 of its 20 ')
    assert norms(model) == 0 and len(seen) == 1
    check_same(maps(model), plain)
    assert fused.settle(model, True, 3, PARTS) == ''


def test_hooks_of_all_modules_are_hooks_of_each():
    model, fused, seen = detector(), FusedNorms(), []
    fused.settle(model, True, 3, PARTS)
    handle = register_module_forward_hook(
        lambda m, *_: seen.append(isinstance(m, nn.BatchNorm2d)))
    try:
        fused.settle(model, True, 3, PARTS)
        maps(model)
        assert sum(seen) == norms(model) == 20
    finally:
        handle.remove()
    fused.settle(model, True, 3, PARTS)
    assert norms(model) == 0


def test_a_backward_hook_sees_the_layer_of_its_own():
    model, fused, seen = detector(), FusedNorms(), []
    model.backbone.relu.inplace = False  # which torch forbids after a hook
    fused.settle(model, True, 3, PARTS)
    model.backbone.bn1.register_full_backward_hook(
        lambda m, given, out: seen.append((type(m), out[0].shape)))
    fused.settle(model, True, 3, PARTS)
    model.extract_feat(batch()[0].requires_grad_())[0].sum().backward()
    assert seen == [(nn.BatchNorm2d, (2, 8, 32, 48))]


def test_a_shared_convolution_comes_back_where_its_norm_does():
    model, fused = detector('rtmdet'), FusedNorms()
    plain, layers = maps(model), model.bbox_head.cls_convs
    shared = layers[1][0].conv
    assert layers[0][0].conv is shared
    fused.settle(model, True, 3, PARTS)
    assert norms(model) == 0
    seen = []
    layers[1][0].bn.register_forward_hook(lambda *_: seen.append(1))
    fused.settle(model, True, 3, PARTS)
    assert [block[0].conv is shared for block in layers] == [
        False, True, False]
    check_same(maps(model), plain)
    assert norms(model) == len(seen) == 1


# -- another function --------------------------------------------------------


def test_a_norm_of_another_class_is_not_fused():
    model, fused = detector(), FusedNorms()
    model.backbone.bn1.__class__ = Brighter
    plain = maps(model)
    assert fused.settle(model, True, 3, PARTS).startswith('19 of its 20 ')
    assert type(model.backbone.bn1) is Brighter
    check_same(maps(model), plain)


@pytest.mark.parametrize('change', ['leaks', 'order'])
def test_norms_are_left_where_fusing_is_another_function(change):
    model, fused = detector(), FusedNorms()
    block = model.backbone.layer2[0]
    if change == 'leaks':
        block.__class__ = Leaking
    else:
        for name in ('bn1', 'bn2'):  # conv1, conv2, bn1, bn2
            block._modules[name] = block._modules.pop(name)
    before, plain = identities(model), maps(model)
    assert 'would change its predictions' in fused.settle(
        model, True, 3, PARTS)
    assert identities(model) == before
    assert all(map(torch.equal, maps(model), plain))


@pytest.mark.filterwarnings('ignore:.*weight_norm.* is deprecated')
@pytest.mark.parametrize('wrap', [
    weight_norm, spectral_norm, parametrizations.weight_norm,
    parametrizations.spectral_norm],
    ids=['weight_norm', 'spectral_norm', 'p.weight_norm', 'p.spectral_norm'])
def test_a_computed_weight_is_left_as_it_is(wrap):
    model, fused = detector(), FusedNorms()
    wrap(model.backbone.layer1[0].conv1)
    model.eval().requires_grad_(False)
    plain = maps(model)
    block = model.backbone.layer1[0]
    layers = nn.ModuleList([block.conv1, block.bn1])
    before = identities(layers)
    assert fused.settle(model, True, 3, PARTS).startswith('19 of its 20 ')
    assert identities(layers) == before
    check_same(maps(model), plain)


@pytest.mark.parametrize('hook', [None, 'cannot be copied'])
def test_a_detector_that_cannot_be_copied_is_left_as_it_is(hook):
    model, fused = detector(), FusedNorms()
    if hook:  # hooks are not copied
        model.neck.register_forward_hook(Uncopied())
    else:
        model.neck.uncopied = Uncopied()
    before = identities(model)
    said = fused.settle(model, True, 3, PARTS)
    assert said.startswith('20 of' if hook else 'its 20')
    assert hook or 'a copy of it does not run in float64 (TypeError)' in said
    assert hook or identities(model) == before


class Uncopied:

    def __call__(self, *args):
        pass

    def __deepcopy__(self, memo):
        raise TypeError('cannot be copied')


# -- what does not matter, and what comes back --------------------------------


def test_no_random_number_is_drawn_and_nobodys_hook_is_called():
    model, fused, seen = detector(), FusedNorms(), []
    model.neck.register_forward_hook(lambda *_: seen.append(1))
    state = torch.get_rng_state()
    fused.settle(model, True, 3, PARTS)
    assert torch.equal(torch.get_rng_state(), state)
    assert not seen


def test_in_float64_the_layers_are_what_they_were():
    model, fused = detector(), FusedNorms()
    before, state = copy.deepcopy(model.state_dict()), identities(model)
    fused.settle(model, True, 3, PARTS)
    assert norms(model) == 0
    fused.settle(model, False, 3, PARTS)
    assert identities(model) == state
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    fused.settle(model, True, 3, PARTS)
    assert norms(model) == 0


def test_a_pass_in_another_type_brings_layers_back_in_it():
    model, fused = detector(), FusedNorms()
    fused.settle(model, True, 3, PARTS)
    model.to(torch.bfloat16)
    model.backbone.bn1.register_forward_hook(lambda *_: None)
    fused.settle(model, True, 3, PARTS)
    types = {x.dtype for x in (*model.parameters(), *model.buffers())
             if x.is_floating_point()}
    assert types == {torch.bfloat16}
    assert model.backbone.bn1.running_var.dtype == torch.bfloat16
