"""Loss weights that a hook changes while a run trains."""
import copy
import re

import numpy as np
import pytest
import torch
from families import quick_cases
from helpers import (
    BCE,
    GIOU,
    KL,
    QFL,
    SDD,
    batch,
    build,
    distiller_cfg,
    runs_of,
    sdd_cfg,
    total,
    wide_teacher,
)

from crosskd.checkpoints.auxiliary import auxiliary_state
from crosskd.engine.hooks import LossSharesHook
from crosskd.engine.trial import try_pair

PKD = dict(type='PKDLoss', loss_weight=1.0)
#: every loss of ours, by its name in the log: its key, and a config around it
LOSSES = {
    'loss_cls_kd': lambda: distiller_cfg('gfl'),
    'loss_reg_kd': lambda: distiller_cfg('gfl'),
    'loss_center_kd': lambda: distiller_cfg('atss'),
    'loss_obj_kd': lambda: distiller_cfg('yolox'),
    'loss_feat_kd': lambda: distiller_cfg('gfl', loss_feat_kd=PKD),
    'loss_sdd_map': lambda: sdd_cfg('gfl'),
    'loss_sdd_box': lambda: distiller_cfg('gfl', loss_sdd=SDD),
}
KEYS = tuple(LOSSES)


def losses_of(model):
    """The modules of all losses, by their name in the log."""
    return {
        f'loss_sdd_{name.rpartition(".")[2]}' if '.losses.' in name else
        name.rpartition('.')[2]: module
        for name, module in model.distillers.named_modules()
        if hasattr(module, 'loss_weight')}


def set_weight(model, name, weight):
    losses_of(model)[name].loss_weight = weight


def step(model):
    """The losses of a batch, and what their backward pass leaves."""
    model.zero_grad()
    losses = model.loss(*batch())
    model.parse_losses(losses)[0].backward()
    return total(losses), {name: p.grad for name, p in
                           model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('name', KEYS)
@pytest.mark.parametrize('wide', quick_cases([True], [False, True]))
def test_a_weight_may_fall_to_0_and_rise_again(name, wide):
    """The step is that of a loss that always had the weight of now."""
    cfg = LOSSES[name]()
    cfg = wide_teacher(cfg) if wide else cfg
    model = build(cfg)
    whole, slopes = step(model)
    weight = losses_of(model)[name].loss_weight
    model, off = build(cfg), build(cfg)
    set_weight(off, name, 0)
    for factor in (0, 1, 2, 0):
        set_weight(model, name, factor * weight)
        model.load_state_dict(off.state_dict())  # batch norm has moved
        losses, found = step(model)
        assert losses[name] == pytest.approx(factor * whole[name], rel=1e-5)
        assert losses.keys() == whole.keys()
        # DDP waits for each of them
        assert all(grad is not None for grad in found.values())
        if factor == 1:
            for key, grad in slopes.items():
                torch.testing.assert_close(found[key], grad)


@pytest.mark.parametrize('name', KEYS)
def test_a_weight_may_begin_at_0(name):
    """Levels, classes, split and adapters are those of its loss."""
    cfg = wide_teacher(LOSSES[name]())
    kd = cfg['kd_cfg']
    whole, slopes = step(build(cfg))
    weights = {key: loss.loss_weight for key, loss in losses_of(
        build(cfg)).items()}
    for key in list(kd):
        if key.startswith('loss'):
            kd[key]['loss_weight'] = 0.0
    model = build(cfg)
    runs = []
    model.teacher.detector.backbone.register_forward_hook(
        lambda *_: runs.append(1))
    off, still = step(model)
    assert not runs  # nothing of the teacher is asked for
    assert all(off[key] == 0 for key in weights)
    for key in auxiliary_state(model):
        assert not still[key].any()
    for key, weight in weights.items():
        set_weight(model, key, weight)
    model.load_state_dict(build(cfg).state_dict())
    on, found = step(model)
    assert on == pytest.approx(whole, rel=1e-5)
    for key, grad in slopes.items():
        torch.testing.assert_close(found[key], grad)


def test_layers_of_the_teacher_run_while_their_loss_counts():
    model = build(distiller_cfg('gfl', loss_feat_kd=PKD))
    step(model)
    teacher = model.teacher.detector
    backbone, tower = map(runs_of, (
        teacher.backbone, teacher.bbox_head.reg_convs[-1]))
    for weights, expected in (((1, 1, 1), (True, True)),
                              ((1, 0, 1), (True, False)),
                              ((0, 0, 1), (True, False)),
                              ((0, 0, 0), (False, False)),
                              ((0, 1, 0), (True, True))):
        for name, weight in zip(
                ('loss_cls_kd', 'loss_reg_kd', 'loss_feat_kd'), weights):
            set_weight(model, name, weight)
        backbone.clear()
        tower.clear()
        losses, _ = step(model)
        assert (bool(backbone), bool(tower)) == expected
        assert [losses[n] > 0 for n in (
            'loss_cls_kd', 'loss_reg_kd', 'loss_feat_kd')] == [
                bool(w) for w in weights]


@pytest.mark.parametrize('name', KEYS)
def test_what_is_no_weight_is_one_error_in_the_step(name):
    model = build(LOSSES[name]())
    key = name.replace('loss_sdd_', r'loss_sdd \(')
    for weight, error in (
            (float('nan'), ValueError), (-0.5, ValueError),
            (np.float32('inf'), ValueError), ('0.5', TypeError),
            (None, TypeError), (True, TypeError), (np.bool_(1), TypeError)):
        set_weight(model, name, weight)
        with pytest.raises(error, match=f'kd_cfg.{key}.*loss_weight must be .'
                           f'*found {re.escape(repr(weight))}'):
            model.loss(*batch())


@pytest.mark.parametrize('name', KEYS)
def test_numbers_of_other_types_are_weights(name):
    """Of a tensor nobody asks the value: the host would wait for it."""
    model = build(LOSSES[name]())
    set_weight(model, name, 1)
    whole = total(model.loss(*batch()))[name]
    for make in (torch.tensor, np.float32, np.int64,
                 lambda x: torch.tensor(float(x), requires_grad=True)):
        for number in (2, 0):
            set_weight(model, name, make(number))
            losses, _ = step(model)
            assert losses[name] == pytest.approx(number * whole, rel=1e-5)


def test_a_tensor_that_is_no_number_is_told_as_the_loss_is():
    model = build(distiller_cfg('gfl'))
    set_weight(model, 'loss_reg_kd', torch.tensor(float('nan')))
    with pytest.raises(FloatingPointError, match='loss_reg_kd of level 0'):
        step(model)


def test_a_copy_has_weights_of_its_own():
    model = build(distiller_cfg('gfl'))
    other = copy.deepcopy(model)
    set_weight(other, 'loss_cls_kd', 0)
    assert step(model)[0]['loss_cls_kd'] > 0
    assert step(other)[0]['loss_cls_kd'] == 0


# -- what is settled when it is built -----------------------------------------


def test_a_loss_without_weight_needs_its_split():
    cfg = distiller_cfg(
        'gfl', loss_cls_kd=dict(QFL, loss_weight=0), loss_reg_kd=dict(
            KL, loss_weight=0), loss_feat_kd=PKD,
        reused_teacher_head_idx=None)
    with pytest.raises(TypeError, match='kd_cfg.reused_teacher_head_idx .*'
                       'found None; losses with a weight of 0 need it'):
        build(cfg)


def test_a_loss_without_weight_needs_its_branch():
    cfg = distiller_cfg('gfl', loss_center_kd=dict(BCE, loss_weight=0))
    with pytest.raises(ValueError, match='kd_cfg.loss_center_kd: GFL heads '
                       'have no quality branch'):
        build(cfg)


def test_a_loss_without_weight_has_adapters_that_wait():
    cfg = wide_teacher(distiller_cfg(
        'gfl', loss_reg_kd=dict(KL, loss_weight=0),
        loss_feat_kd=dict(PKD, loss_weight=0)))
    model = build(cfg)
    assert list(model.pair.adapters) == ['cls', 'reg', 'features']
    assert all(p.requires_grad for p in auxiliary_state(model).values())


class Broken(torch.nn.Module):
    """A loss that cannot be computed."""

    compares = ('boxes', )
    loss_weight = 0.0

    def forward(self, pred, target, reduction_override=None):
        raise RuntimeError('no such loss')


def test_a_loss_without_weight_is_tried_before_training():
    model = build(distiller_cfg('gfl', loss_reg_kd=GIOU))
    model.distillers.predictions.loss_reg_kd = Broken()
    assert step(model)[0]['loss_reg_kd'] == 0
    with pytest.raises(ValueError, match='kd_cfg.*RuntimeError: no such'):
        try_pair(model)
    assert model.distillers.predictions.loss_reg_kd.loss_weight == 0


def test_gradient_norms_of_adapters_that_wait():
    """A zero of adapters has no gradient at the features."""
    model = build(wide_teacher(distiller_cfg(
        'gfl', loss_cls_kd=dict(QFL, loss_weight=0),
        loss_reg_kd=dict(KL, loss_weight=0))))
    hook = LossSharesHook(gradient_interval=1)
    found = {'features': []}
    model.bbox_head.register_forward_pre_hook(
        lambda _, args: found['features'].extend(args[0]))
    hook._measure(found, 1.0, model, None, model.loss(*batch()))
    assert hook._ratio is None
