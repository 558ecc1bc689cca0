"""Shares of distillation losses in the log, and what is said about them."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import METHODS, batch, build, distiller_cfg, plain_cfg
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from pretend_device import DEVICE, on_device, pretend_device
from unknown_heads import distilled, unknown_cfg

from crosskd.engine.hooks import LossSharesHook
from crosskd.engine.hooks.loss_shares import LONG, SHORTEST


class Runs:
    """What the hook reads of a runner, with a real message hub."""

    def __init__(self, model, name, max_iters=100000):
        self.model = model
        self.message_hub = MessageHub.get_instance(name)
        self.max_iters, self.iter = max_iters, 0
        self.hooks = [LoggerHook(interval=50)]
        self.log_processor = SimpleNamespace(window_size=10)
        self.train_dataloader = [0] * max_iters
        self.logger = SimpleNamespace(warning=self.warn)
        self.warnings = []

    def warn(self, message):
        self.warnings.append((self.iter + 1, message))

    def log(self, hook, **losses):
        """A step with such losses, as mmengine logs it."""
        losses['loss'] = sum(losses.values())
        for name, value in losses.items():
            self.message_hub.update_scalar(f'train/{name}', value)
        hook.after_train_iter(self, self.iter)
        self.iter += 1

    def last(self, name):
        return self.message_hub.get_scalar(f'train/{name}').current()


@pytest.fixture
def runs(request):
    model = build(distiller_cfg('gfl'), joins=False)
    model.distillers.loss_names = frozenset({'loss_cls_kd', 'loss_reg_kd'})
    return lambda *args: Runs(model, request.node.name, *args)


def test_the_train_tool_logs_them(project):
    """Of the losses that are printed beside, in the file and for backends."""
    log, = (project / 'work_dirs/distilled').glob('*/vis_data/scalars.json')
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [step for step in steps if 'loss' in step]
    assert len(steps) == 8
    for step in steps:
        shares = {k: v for k, v in step.items() if k.startswith('share_')}
        assert shares == {
            f'share_{name}': pytest.approx(step[f'loss_{name}'] / step['loss'])
            for name in ('cls_kd', 'reg_kd')}
        # and they are no part of the loss
        parts = [v for k, v in step.items() if k.startswith('loss_')]
        assert sum(parts) == pytest.approx(step['loss'])


def test_a_plain_detector_has_none(project):
    log, = (project / 'work_dirs/teacher').glob('*/vis_data/scalars.json')
    assert 'loss_cls' in log.read_text() and 'share' not in log.read_text()


def test_they_are_made_where_losses_are_printed(runs):
    """Of the same window, and not in the steps between."""
    runner, hook = runs(), LossSharesHook()
    for step in range(49):
        runner.log(hook, loss_cls=1.0, loss_cls_kd=step, loss_reg_kd=0.0)
    assert 'train/share_cls_kd' not in runner.message_hub.log_scalars
    runner.log(hook, loss_cls=1.0, loss_cls_kd=49, loss_reg_kd=0.0)
    mean = np.mean(range(40, 50))
    assert runner.last('share_cls_kd') == pytest.approx(mean / (1 + mean))
    assert runner.last('share_reg_kd') == 0


def test_too_much_for_long_is_said_once(runs):
    runner, hook = runs(), LossSharesHook()
    for _ in range(2 * LONG):
        runner.log(hook, loss_cls=0.1, loss_cls_kd=5.0, loss_reg_kd=0.5)
    (at, message), = runner.warnings
    assert at == LONG
    assert 'more than 95% of the loss in 90% of the last 2000' in message
    assert 'loss_cls_kd (89.3%)' in message


def test_too_little_for_long_is_said_of_each(runs):
    """But not of a loss that is switched off."""
    runner, hook = runs(2000), LossSharesHook()
    for _ in range(1000):
        runner.log(hook, loss_cls=1.0, loss_cls_kd=1e-4, loss_reg_kd=0.0)
    (at, message), = runner.warnings
    assert at == 500  # a quarter of that run
    assert message.startswith(
        'iteration 500: loss_cls_kd was less than 0.1% of the loss in 90%')


def test_a_beginning_like_rtmdets_is_nothing_to_cry_at(runs):
    """Hundreds of times the detection losses, as long as boxes are poor."""
    runner, hook = runs(), LossSharesHook()
    rng = np.random.default_rng(0)
    for step in range(2 * LONG):
        times = 500 if step < LONG / 2 else 1
        runner.log(hook, loss_cls=1.0, loss_reg_kd=0.1,
                   loss_cls_kd=times * rng.uniform(0.5, 1.5))
    assert not runner.warnings
    # in a run of a few steps neither
    short = runs(40)
    short.message_hub.log_scalars.clear()
    for _ in range(SHORTEST - 1):
        short.log(hook, loss_cls=1e-9, loss_cls_kd=1.0, loss_reg_kd=0.0)
    assert not short.warnings


def step(model, hook=None, runner=None):
    """The gradients of a training step."""
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    runner = SimpleNamespace(model=model, iter=0, optim_wrapper=wrapper,
                             message_hub=MessageHub.get_instance('step'),
                             hooks=[])
    torch.manual_seed(0)
    inputs, samples = batch()
    if hook:
        hook.before_train_iter(runner, 0)
    wrapper.zero_grad()
    losses = model(inputs, samples, mode='loss')
    model.parse_losses(losses)[0].backward()
    if hook:
        hook.after_train_iter(runner, 0)
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize('method', ['CrossKD and PKD', 'SDD, map and box'])
def test_gradient_norms_are_measured_and_left_as_they_are(method):
    kind = 'retina' if method.startswith('CrossKD') else 'fcos'
    model, other = (build(METHODS[method](kind)).train() for _ in range(2))
    hook = LossSharesHook(gradient_interval=1)
    hub = MessageHub.get_instance('step')
    hub.log_scalars.clear()
    found, expected = step(model, hook), step(other)
    assert all(map(torch.equal, found, expected))
    assert all(map(torch.equal, model.state_dict().values(),
                   other.state_dict().values()))
    # what the neck's outputs get from each kind of loss alone
    features = []
    other.neck.register_forward_hook(lambda _, args, out: features.extend(out))
    inputs, samples = batch()
    losses = other(inputs, samples, mode='loss')
    norms = []
    for distils in (True, False):
        total, _ = other.parse_losses({
            k: v for k, v in losses.items() if ('kd' in k or 'sdd' in k)
            == distils})
        grads = torch.autograd.grad(total, features, retain_graph=True)
        norms.append(sum(g.square().sum() for g in grads).sqrt())
    assert hub.get_scalar('train/grad_ratio').current() == pytest.approx(
        float(norms[0] / norms[1]), rel=1e-4)
    # nothing is left behind
    assert not model._forward_hooks and not model.bbox_head._forward_pre_hooks


@pytest.mark.parametrize('name', ['fovea', 'yolof', 'detr'])
def test_gradient_norms_of_heads_that_are_not_known(name):
    """At the features that are distilled: what the neck returns."""
    cfg = distilled(unknown_cfg(name), unknown_cfg(name, width=16))
    model, other = (build(cfg).train() for _ in range(2))
    hub = MessageHub.get_instance('step')
    hub.log_scalars.clear()
    found, expected = step(model, LossSharesHook(1)), step(other)
    assert all(a is b or torch.equal(a, b) for a, b in zip(found, expected))
    features = []
    other.neck.register_forward_hook(lambda _, args, out: features.extend(out))
    losses = other(*batch(), mode='loss')
    norms = []
    for distils in (True, False):
        total, _ = other.parse_losses({
            k: v for k, v in losses.items() if ('kd' in k) == distils})
        grads = torch.autograd.grad(total, features, retain_graph=True)
        norms.append(sum(g.square().sum() for g in grads).sqrt())
    assert hub.get_scalar('train/grad_ratio').current() == pytest.approx(
        float(norms[0] / norms[1]), rel=1e-4)
    # nothing is left behind
    assert not model._forward_hooks and not model.neck._forward_hooks


def test_a_step_between_costs_nothing():
    """No kernel, no wait, no copy, and no hook on the model."""
    model = build(distiller_cfg('gfl'))
    hook = LossSharesHook(gradient_interval=50)
    with pretend_device() as counts:
        model.to(DEVICE)
        inputs, samples = on_device(*batch())
        runner = SimpleNamespace(model=model, iter=0, hooks=[LoggerHook(50)],
                                 train_dataloader=[0] * 100)
        found = []
        for hooked in (False, False, True):
            counts.reset()
            if hooked:
                hook.before_train_iter(runner, 0)
            model(inputs, samples, mode='loss')
            if hooked:
                hook.after_train_iter(runner, 0)
            found.append((counts.kernels, counts.syncs, counts.copies))
    assert found[2] == found[1]


@pytest.mark.parametrize('interval, error', [
    (0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_an_interval_is_a_positive_integer(interval, error):
    with pytest.raises(error, match='LossSharesHook: gradient_interval must'):
        LossSharesHook(gradient_interval=interval)


def test_frozen_features_and_plain_detectors_have_no_ratio():
    hub = MessageHub.get_instance('step')
    hub.log_scalars.clear()
    hook = LossSharesHook(gradient_interval=1)
    step(build(plain_cfg('gfl')).train(), hook)
    model = build(distiller_cfg('gfl')).train()
    model.backbone.requires_grad_(False)
    model.neck.requires_grad_(False)
    step(model, hook)
    assert 'train/grad_ratio' not in hub.log_scalars
