"""Weights that follow the share of distillation in the gradient."""
import copy
from types import SimpleNamespace

import pytest
import torch
from helpers import batch, build, distiller_cfg
from mmengine.runner import IterBasedTrainLoop
from resuming import made, resumed_and_whole

from crosskd.engine.hooks import LossSharesHook
from crosskd.engine.hooks.gradient_share import GradientShare
from crosskd.errors import ConfigError, ConfigValueError

CONTROL = dict(type='LossSharesHook', gradient_interval=1,
               gradient_share=dict(target=0.8, tolerance=0.02))


@pytest.mark.parametrize('ratio, change', [
    (1.0, 1.0),  # half
    (0.43, 1.0), (2.3, 1.0),  # 30.1% and 69.7%
    (0.42, 1 / 0.42), (2.4, 1 / 2.4),  # 29.6% and 70.6%
    (0.0, 1.0), (float('inf'), 1.0), (float('nan'), 1.0)])
def test_a_share_outside_its_limits_is_brought_to_its_target(ratio, change):
    assert GradientShare(0.5, 0.2).change(ratio) == pytest.approx(change)
    assert GradientShare(0.5, 0.2).change(ratio * change) == 1.0


def ratio_of(model):
    hook = LossSharesHook(gradient_interval=1)
    found = {'features': []}
    handle = model.bbox_head.register_forward_pre_hook(
        lambda _, args: found['features'].extend(args[0]))
    hook._measure(found, 1.0, model, None, model.loss(*batch()))
    handle.remove()
    return float(hook._ratio)


def test_scaled_weights_have_the_share_that_is_asked_for():
    model = build(distiller_cfg('gfl')).eval()
    share = GradientShare(0.8, 0.02)
    change = share.change(ratio_of(model))
    assert change != 1.0
    model.distillers.schedules.scale = change
    ratio = ratio_of(model)
    assert ratio / (1 + ratio) == pytest.approx(0.8, abs=1e-4)


def test_a_run_scales_its_weights_and_resumes_them(tmp_path):
    parts, whole = resumed_and_whole(
        tmp_path, hooks=[copy.deepcopy(CONTROL)], log_level='INFO')
    torch.testing.assert_close(parts, whole, rtol=0, atol=0)
    scale = torch.load(tmp_path / 'whole/epoch_1.pth', weights_only=False)[
        'message_hub']['runtime_info']['distillation_scale']
    assert scale != 1.0
    log = next((tmp_path / 'whole').glob('*/*.log')).read_text()
    assert f'from now on its losses are multiplied by {scale:.4g}' in log


def test_shares_within_their_limits_leave_the_weights(tmp_path):
    hook = dict(CONTROL, gradient_share=dict(target=0.5, tolerance=0.5))
    controlled = made(tmp_path / 'a', 1, hooks=[hook])
    assert controlled.model.distillers.schedules.scale == 1.0
    assert 'distillation_scale' not in controlled.message_hub.runtime_info


@pytest.mark.parametrize('arguments, words', [
    (dict(gradient_share=0.5), 'gradient_share must be a dict .* found 0.5'),
    (dict(gradient_share=dict(target=0.5), gradient_interval=None),
     'gradient_share needs gradient_interval, which is None'),
    (dict(gradient_share=dict(target=1.0)), 'target must be below 1'),
    (dict(gradient_share=dict(target=0)), 'target must be finite and > 0'),
    (dict(gradient_share=dict(target='a')), "target must be a number"),
    (dict(gradient_share=dict(target=0.5, tolerance=-1)), 'tolerance must be'),
    (dict(gradient_share=dict(tolerance=0.1)), "missing .*'target'")])
def test_bad_arguments_are_errors(arguments, words):
    with pytest.raises(ConfigError, match=f'LossSharesHook: .*{words}'):
        LossSharesHook(**{'gradient_interval': 1, **arguments})


def test_a_run_without_epochs_is_an_error():
    hook = LossSharesHook(1, dict(target=0.5))
    runner = SimpleNamespace(train_loop=object.__new__(IterBasedTrainLoop))
    with pytest.raises(ConfigValueError, match='gradient_share is controlled '
                       'after each epoch'):
        hook.before_train(runner)
