"""What weights of losses are multiplied with while a run goes on."""
import pytest
from helpers import batch, build, distiller_cfg, sdd_cfg, total
from mmengine.logging import MessageHub

from crosskd.distillers.schedules import (
    LinearWarmup,
    Schedule,
    iterations_done,
    name_of_run,
)
from crosskd.errors import ConfigError
from crosskd.registry import SCHEDULES

WARMUP = dict(type='LinearWarmup', iters=4)


@pytest.fixture
def iteration():
    """A Runner's count of iterations, without the Runner."""
    hub = MessageHub.get_instance('schedules')
    yield lambda count: hub.update_info('iter', count)
    for name in ('schedules', 'another run'):
        MessageHub._instance_dict.pop(name, None)


def losses_of(model):
    return total(model.loss(*batch()))


def test_a_loss_grows_to_its_weight_and_no_further(iteration):
    cfg = distiller_cfg('gfl')
    plain = losses_of(build(cfg))
    cfg['kd_cfg']['schedule'] = dict(loss_cls_kd=WARMUP)
    model = build(cfg)
    assert losses_of(model) == plain  # nobody counts
    for done, part in ((0, 0.25), (2, 0.75), (3, 1), (100, 1)):
        iteration(done)
        found = losses_of(model)
        assert found['loss_cls_kd'] == pytest.approx(
            part * plain['loss_cls_kd'], rel=1e-6)
        assert found['loss_reg_kd'] == plain['loss_reg_kd']
    assert model.distillers.predictions.loss_cls_kd.loss_weight == 1.0


@SCHEDULES.register_module()
class FromThirdStep(Schedule):
    """0 until three iterations are done."""

    def __call__(self, done):
        return float(done >= 3)


def test_a_schedule_goes_by_the_run_that_the_model_is_in(iteration):
    run = name_of_run()
    assert run == 'schedules' and iterations_done(run) is None
    MessageHub.get_instance('another run').update_info('iter', 0)
    assert iterations_done(run) == 0  # built before its Runner
    iteration(1)
    assert iterations_done(run) == 1


def test_a_weight_that_begins_at_0_has_all_that_it_needs_later(iteration):
    cfg = distiller_cfg('gfl')
    cfg['kd_cfg']['schedule'] = dict.fromkeys(
        ('loss_cls_kd', 'loss_reg_kd'), dict(type='FromThirdStep'))
    model = build(cfg)
    iteration(0)
    found = losses_of(model)
    assert found['loss_cls_kd'] == found['loss_reg_kd'] == 0
    iteration(3)
    assert losses_of(model)['loss_cls_kd'] > 0


def test_warmup_iters_of_sdd_is_such_a_schedule(iteration):
    iteration(0)
    whole = losses_of(build(sdd_cfg('gfl')))
    half = build(sdd_cfg('gfl', loss=dict(warmup_iters=2)))
    assert half.distillers.schedules == {
        name: LinearWarmup(2) for name in whole if 'sdd' in name}
    for name, value in losses_of(half).items():
        if 'sdd' in name:
            assert value == pytest.approx(whole[name] / 2, rel=1e-6)


@pytest.mark.parametrize('schedule, words', [
    (3, 'kd_cfg.schedule must be a dict from the names'),
    (dict(loss_cls_kd=3), "kd_cfg.schedule.loss_cls_kd must be a dict with"),
    (dict(loss_cls_kd=dict(type='Linear')),
     "schedule.loss_cls_kd: unknown key 'Linear', expected LinearWarmup"),
    (dict(loss_cls_kd=dict(type='LinearWarmup')), 'schedule.loss_cls_kd: '),
    (dict(loss_cls_kd=dict(type='LinearWarmup', iters=1.5)),
     'iters must be an integer, found 1.5'),
    (dict(loss_cls_kd=dict(type='LinearWarmup', iters=-1)), 'must be finite'),
])
def test_bad_schedules_are_refused(schedule, words):
    cfg = distiller_cfg('gfl')
    cfg['kd_cfg']['schedule'] = schedule
    with pytest.raises(ConfigError, match=words):
        build(cfg)


def test_a_schedule_of_no_loss_is_an_error():
    cfg = distiller_cfg('gfl')
    cfg['kd_cfg']['schedule'] = dict(loss_clss_kd=WARMUP)
    with pytest.raises(ConfigError, match="no loss 'loss_clss_kd'; expected"):
        losses_of(build(cfg))
