"""A step whose loss is not finite: named, and skipped where asked for."""
import copy
import gc
import logging
import math
import weakref

import pytest
import torch
from experiments import experiment, model_cfg, weights, write
from families import quick_cases
from helpers import (
    KINDS,
    METHODS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    sdd_cfg,
    wide_teacher,
)
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from tool_server import run as tool

from crosskd.engine.hooks import SkipNonFiniteHook

pytestmark = pytest.mark.torch_only


class Run:
    """What the hook needs of a Runner, on a real model and optimizer."""

    def __init__(self, model, steps_per_update=1, **sgd):
        self.model = model
        self.logger = logging.getLogger('crosskd-test')
        self.iter = 41
        self.optim_wrapper = OptimWrapper(
            torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9,
                            weight_decay=0.1, **sgd),
            accumulative_counts=steps_per_update,
            clip_grad=dict(max_norm=1.0))

    def add(self, hook):
        hook.before_train(self)
        self.hook = hook
        return self

    def step(self, inputs, samples):
        losses, log = self.model.parse_losses(self.model.loss(inputs, samples))
        self.update(losses)
        self.hook.after_train_iter(self, 0, outputs=log)

    def update(self, losses):
        self.optim_wrapper.update_params(losses)


class ScaledRun(Run):
    """With the loss scaling of ``--amp``, which skips steps itself."""

    def __init__(self, model):
        super().__init__(model)
        self.scaler = torch.amp.GradScaler('cpu', init_scale=4.0)
        self.optim_wrapper.loss_scaler = self.scaler  # as AmpOptimWrapper's

    def update(self, losses):
        optimizer = self.optim_wrapper.optimizer
        optimizer.zero_grad()
        self.scaler.scale(losses).backward()
        self.scaler.step(optimizer)
        self.scaler.update()


SCALED = pytest.param(ScaledRun, marks=pytest.mark.skipif(
    not hasattr(torch.amp, 'GradScaler'),
    reason='torch 2.1 scales losses on GPUs alone'))
both_ways = pytest.mark.parametrize('kind_of_run', [Run, SCALED])


def spoil(model, loss, level, value=math.nan):
    """Let one distillation loss of one level be ``value`` from now on."""
    distil = model.distillers.predictions.forward

    def spoilt(paired):
        losses = distil(paired)
        losses[loss][level] = losses[loss][level] * value
        return losses

    model.distillers.predictions.forward = spoilt


def state(run):
    momenta = [
        run.optim_wrapper.optimizer.state[p].get('momentum_buffer')
        for p in run.model.parameters()
    ]
    return copy.deepcopy(
        (list(run.model.parameters()), momenta))


def same(a, b):
    return all(
        (x is None and y is None) or torch.equal(x, y)
        for ours, theirs in zip(a, b) for x, y in zip(ours, theirs))


def backward(model, inputs, samples):
    """A step without the optimizer's."""
    loss, _ = model.parse_losses(model.loss(inputs, samples))
    loss.backward()


@pytest.mark.parametrize('value', [math.nan, math.inf])
@pytest.mark.parametrize('kind', KINDS)
def test_loss_and_level_are_named(kind, value):
    model = build(distiller_cfg(kind))
    spoil(model, 'loss_reg_kd', 1, value)
    with pytest.raises(FloatingPointError) as error:
        backward(model, *batch())
    assert f'loss_reg_kd of level 1 ({value})' in str(error.value)
    assert 'level 0' not in str(error.value)
    assert 'SkipNonFiniteHook' in str(error.value)
    assert 'learning rate' in str(error.value)
    assert '--auto-scale-lr' in str(error.value)


def test_without_gradients_they_are_looked_at_at_once():
    model = build(distiller_cfg('gfl'))
    spoil(model, 'loss_reg_kd', 1)
    with torch.no_grad(), pytest.raises(FloatingPointError):
        model.loss(*batch())


def test_the_backward_pass_is_through_when_the_error_comes():
    """Which is what lets the device compute while the host waits."""
    model = build(distiller_cfg('gfl'))
    spoil(model, 'loss_reg_kd', 1)
    reached = []
    for p in model.neck.parameters():
        p.register_post_accumulate_grad_hook(reached.append)
    with pytest.raises(FloatingPointError):
        backward(model, *batch())
    assert len(reached) == len(list(model.neck.parameters()))


def test_who_catches_the_error_goes_on_with_sound_gradients():
    """Nothing of the refused step is left for the next one."""
    model, sound = (build(wide_teacher(distiller_cfg('gfl')))
                    for _ in range(2))
    whole = [*model.named_parameters(), *model.pair.named_parameters(),
             *model.distillers.named_parameters()]
    distil = model.distillers.predictions.forward
    spoil(model, 'loss_reg_kd', 1)
    statistics = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError):
        backward(model, *batch())
    assert model.pair.adapters and whole
    assert all(p.grad is None for _, p in whole)
    model.load_state_dict(statistics)  # those of batch norm have moved
    model.distillers.predictions.forward = distil
    for one in (model, sound):
        backward(one, *batch(seed=1))
    for p, q in zip(model.parameters(), sound.parameters()):
        assert torch.equal(p.grad, q.grad)


def test_an_image_that_is_not_finite_leaves_no_gradient_either():
    model = build(distiller_cfg('gfl'))
    inputs, samples = batch()
    inputs[1] = math.nan
    with pytest.raises(ValueError, match='has values'):
        backward(model, inputs, samples)
    assert all(p.grad is None for p in model.parameters())


# -- losses below zero --------------------------------------------------------


def shifted(model, loss, by):
    """Let one distillation loss of one level be so much more from now on."""
    distil = model.distillers.predictions.forward

    def moved(paired):
        losses = distil(paired)
        losses[loss][2] = losses[loss][2] * 0 + by
        return losses

    model.distillers.predictions.forward = moved


@pytest.mark.parametrize('kind', KINDS)
def test_a_distillation_loss_below_zero_is_named(kind):
    model = build(distiller_cfg(kind))
    shifted(model, 'loss_reg_kd', -3.0)
    with pytest.raises(FloatingPointError) as error:
        backward(model, *batch())
    for text in ('loss is below zero: loss_reg_kd of level 2 (-3.0). No '
                 'weight has changed.', 'kd_cfg', 'GIoULoss'):
        assert text in str(error.value)
    assert 'learning rate' not in str(error.value)
    assert all(p.grad is None for p in model.parameters())


def test_what_rounding_leaves_below_zero_is_none():
    model = build(distiller_cfg('gfl'))
    shifted(model, 'loss_reg_kd', -1e-5)
    backward(model, *batch())


def test_a_detectors_own_loss_may_be_below_zero():
    model = build(distiller_cfg('gfl'))
    own = model.bbox_head.loss
    model.bbox_head.loss = lambda *args: {
        name: [x - 5 for x in values] for name, values in own(*args).items()}
    losses = model.loss(*batch())
    assert sum(losses['loss_bbox']) < 0
    model.parse_losses(losses)[0].backward()


def test_one_that_is_not_finite_is_told_of_first():
    model = build(distiller_cfg('gfl'))
    shifted(model, 'loss_cls_kd', -3.0)
    spoil(model, 'loss_reg_kd', 1)
    with pytest.raises(FloatingPointError) as error:
        backward(model, *batch())
    assert ('loss is not finite: loss_reg_kd of level 1 (nan), loss_cls_kd of '
            'level 2 (-3.0)' in str(error.value))


def test_with_the_hook_one_below_zero_is_logged(caplog):
    run = Run(build(distiller_cfg('gfl'))).add(SkipNonFiniteHook())
    shifted(run.model, 'loss_reg_kd', -3.0)
    MMLogger.get_current_instance().addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING):
        run.step(*batch())
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert 'below zero: loss_reg_kd of level 2 (-3.0)' in caplog.text


# -- what a user keeps --------------------------------------------------------


@pytest.mark.parametrize('kind', quick_cases(['gfl'], KINDS))
@pytest.mark.parametrize('method', METHODS)
def test_what_is_kept_of_a_step_does_not_keep_its_batch(kind, method):
    """Nor anything else that is large, whatever is kept of the losses."""
    model = build(METHODS[method](kind))
    inputs, samples = batch()
    batches = [weakref.ref(inputs), *(weakref.ref(s) for s in samples)]
    losses = model.loss(inputs, samples)
    total, log = model.parse_losses(losses)
    total.backward()
    del inputs, samples
    gc.collect()
    assert not any(kept() is not None for kept in batches)
    values = [x for value in losses.values()
              for x in (value if isinstance(value, list) else [value])]
    assert all(x.untyped_storage().nbytes() < 100
               for x in (*values, *log.values(), total))


def test_losses_of_regions_and_features_are_named_too():
    model = build(sdd_cfg('gfl', loss_feat_kd=dict(type='PKDLoss')))
    with torch.no_grad():
        model.neck.fpn_convs[2].conv.weight.fill_(math.nan)
    with pytest.raises(FloatingPointError) as error:
        backward(model, *batch())
    for name in ('loss_cls', 'loss_sdd_map', 'loss_feat_kd'):
        assert f'{name} of level 2 (nan)' in str(error.value)
        assert f'{name} of level 0' not in str(error.value)


def test_an_image_that_is_not_finite_is_named_instead():
    inputs, samples = batch()
    inputs[1, 0, 3, 3] = math.inf
    for index, sample in enumerate(samples):
        sample.set_metainfo(dict(img_path=f'{index}.png'))
    with pytest.raises(ValueError, match="image '1.png' has values"):
        backward(build(distiller_cfg('gfl')), inputs, samples)


def test_what_is_no_loss_may_be_anything():
    model = build(distiller_cfg('gfl'))
    distil = model.distillers.forward
    model.distillers.forward = lambda *args: dict(
        distil(*args), ratio=torch.tensor(math.nan))
    assert math.isnan(model.loss(*batch())['ratio'])


@both_ways
@pytest.mark.parametrize('make', [distiller_cfg, plain_cfg])
def test_the_hook_skips_the_step_and_says_so(kind_of_run, make, caplog):
    """No weight changes, no momentum, no decay; the next step does."""
    run = kind_of_run(build(make('gfl'))).add(SkipNonFiniteHook())
    run.step(*batch())
    before = state(run)
    loss = run.model.loss

    def nan_loss(*args):
        losses = loss(*args)
        losses['loss_bbox'][0] = losses['loss_bbox'][0] * math.nan
        return losses

    run.model.loss = nan_loss
    with caplog.at_level(logging.WARNING):
        run.step(*batch())
    assert 'iteration 42: the gradient is not finite; the step is sk' in (
        caplog.text)
    assert same(before, state(run))
    run.model.loss = loss
    run.step(*batch())
    assert not same(before, state(run))


def test_steps_are_skipped_after_anything_was_compiled():
    """torch 2.1 switches the hooks of all optimizers off then."""
    torch.compile(torch.sin, backend='eager')(torch.ones(1))
    run = Run(build(distiller_cfg('gfl'))).add(SkipNonFiniteHook())
    spoil(run.model, 'loss_cls_kd', 2)
    before = state(run)
    run.step(*batch())
    assert same(before, state(run))


def test_the_hook_lets_the_run_go_on_past_a_loss_that_is_reported():
    run = Run(build(distiller_cfg('gfl'))).add(SkipNonFiniteHook())
    spoil(run.model, 'loss_cls_kd', 2)
    before = state(run)
    run.step(*batch())
    assert same(before, state(run))


def test_a_whole_accumulated_step_is_skipped():
    run = Run(build(distiller_cfg('gfl')), steps_per_update=2)
    run.optim_wrapper.initialize_count_status(run.model, 0, 4)
    run.add(SkipNonFiniteHook())
    before = state(run)
    run.step(*batch())
    predictions = run.model.distillers.predictions.forward
    spoil(run.model, 'loss_cls_kd', 0)
    run.step(*batch(seed=1))
    assert same(before, state(run))
    run.model.distillers.predictions.forward = predictions
    run.step(*batch())
    run.step(*batch(seed=1))
    after = state(run)
    assert not same(before, after)
    assert all(torch.isfinite(p).all() for p in after[0])


@both_ways
def test_statistics_that_are_lost_end_the_run(kind_of_run):
    """A forward pass that was not finite has spoilt them already."""
    run = kind_of_run(build(distiller_cfg('gfl'))).add(SkipNonFiniteHook())
    run.model.train()
    with torch.no_grad():
        run.model.backbone.conv1.weight[0] = math.inf
    with pytest.raises(FloatingPointError, match='the buffer backbone.bn1'):
        run.step(*batch())


def spoilt_steps(run, which):
    """Steps of which some have a loss that is not finite."""
    loss = run.model.loss
    for spoil_it in which:
        run.model.loss = loss
        if spoil_it:
            run.model.loss = lambda *args: {
                k: [x * math.nan for x in v] for k, v in loss(*args).items()}
        run.step(*batch())


@both_ways
def test_too_many_in_a_row_end_the_run(kind_of_run):
    """Not as many with a good one between them."""
    run = kind_of_run(build(distiller_cfg('gfl'))).add(
        SkipNonFiniteHook(max_in_a_row=3))
    spoilt_steps(run, [True, True, False, True, True])
    with pytest.raises(FloatingPointError) as error:
        spoilt_steps(run, [True])
    for text in ('3 steps in a row', 'max_in_a_row', 'learning rate',
                 '--auto-scale-lr'):
        assert text in str(error.value)


@SCALED.marks[0]
def test_too_many_steps_that_loss_scaling_skips_end_the_run():
    """Every loss is finite; each scaled gradient overflows."""
    run = ScaledRun(build(distiller_cfg('gfl')))
    run.scaler = run.optim_wrapper.loss_scaler = torch.amp.GradScaler(
        'cpu', init_scale=2.0**126, backoff_factor=0.999)
    run.add(SkipNonFiniteHook(max_in_a_row=4))
    before = state(run)
    for _ in range(3):
        run.step(*batch())
    with pytest.raises(FloatingPointError, match='4 steps in a row'):
        run.step(*batch())
    assert same(before, state(run))


def test_accumulated_steps_are_counted_once():
    run = Run(build(distiller_cfg('gfl')), steps_per_update=2)
    run.optim_wrapper.initialize_count_status(run.model, 0, 100)
    run.add(SkipNonFiniteHook(max_in_a_row=2))
    spoilt_steps(run, [True, True, True])
    with pytest.raises(FloatingPointError, match='2 steps in a row'):
        spoilt_steps(run, [True])


@pytest.mark.parametrize('value, error', [
    (0, ValueError), (-1, ValueError), (2.5, TypeError), (None, TypeError),
    (True, TypeError)])
def test_the_number_is_checked(value, error):
    with pytest.raises(error, match='SkipNonFiniteHook: max_in_a_row must be'):
        SkipNonFiniteHook(max_in_a_row=value)


def test_a_run_that_has_diverged_ends(project, tmp_path):
    """Eight steps, none of them good after the first."""
    cfg = distiller_cfg('gfl')
    cfg['backbone']['norm_eval'] = True  # no statistics that are lost
    cfg = experiment(model_cfg(cfg))
    cfg['optim_wrapper'] = dict(optimizer=dict(type='SGD', lr=1e8))
    cfg['custom_hooks'] = [dict(type='SkipNonFiniteHook', max_in_a_row=5)]
    write(project / 'diverges.py', cfg)
    out = tool('train.py', 'diverges.py', '--work-dir', tmp_path, cwd=project,
               ok=False)
    assert 'FloatingPointError: iteration 6: 5 steps in a row' in out
    assert '--auto-scale-lr' in out and '(optim_wrapper.optimizer.lr)' in out


def test_without_the_hook_the_weights_are_untouched():
    run = Run(build(distiller_cfg('gfl')))
    spoil(run.model, 'loss_cls_kd', 0)
    before = state(run)
    with pytest.raises(FloatingPointError):
        run.step(*batch())
    assert same(before, state(run))


@pytest.mark.parametrize('skip', [False, True])
def test_a_real_run(project, tmp_path, skip):
    """The sixth of eight steps has a loss that is not finite."""
    (tmp_path / 'spoilt.py').write_text('\n'.join([
        'from mmdet.registry import MODELS',
        'from crosskd.losses import KDQualityFocalLoss',
        '@MODELS.register_module()',
        'class Spoilt(KDQualityFocalLoss):',
        '    calls = 0',
        '    def forward(self, *args, **kwargs):',
        '        self.calls += 1',
        '        loss = super().forward(*args, **kwargs)',
        "        return loss * float('nan') if self.calls == 6 else loss"]))
    cfg = experiment(model_cfg(distiller_cfg(
        'gfl', loss_cls_kd=dict(type='Spoilt'))))
    cfg['custom_imports']['imports'].append('spoilt')
    cfg['custom_hooks'] = [dict(type='SkipNonFiniteHook')] * skip
    write(tmp_path / 'spoilt_run.py', cfg)
    out = tool('train.py', tmp_path / 'spoilt_run.py', '--work-dir',
               tmp_path / 'run', cwd=project, ok=skip,
               env=dict(PYTHONPATH=str(tmp_path)))
    assert 'is not finite: loss_cls_kd of level 0 (nan), loss_cls_kd' in out
    assert ('iteration 6: the gradient is not finite' in out) == skip
    last = tmp_path / f'run/epoch_{1 + skip}.pth'
    assert all(w.isfinite().all() for w in weights(last).values())
    assert (tmp_path / 'run/epoch_2.pth').exists() == skip
