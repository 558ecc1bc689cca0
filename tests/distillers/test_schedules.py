"""What weights of losses are multiplied with while a run goes on."""
import copy
import math

import pytest
import torch
from helpers import batch, build, distiller_cfg, runs_of, sdd_cfg, total
from learned_losses import learned
from mmengine.logging import MessageHub
from mmengine.optim.scheduler import (
    CosineAnnealingParamScheduler,
    LinearParamScheduler,
)

from crosskd.checkpoints.auxiliary import auxiliary_state
from crosskd.distillers import Distiller
from crosskd.distillers.progress import Progress, name_of_run, progress_of
from crosskd.distillers.schedules import LinearWarmup, Schedule
from crosskd.engine.trial import try_pair
from crosskd.errors import ConfigError
from crosskd.registry import DISTILLERS, SCHEDULES

WARMUP = dict(type='LinearWarmup', iters=4)
PKD = dict(type='PKDLoss', loss_weight=1.0)
EPOCHS, LENGTH = 6, 4
RUN = dict(max_iters=EPOCHS * LENGTH, max_epochs=EPOCHS)


@pytest.fixture
def iteration():
    """A Runner's count of iterations, without the Runner."""
    hub = MessageHub.get_instance('schedules')
    yield lambda count, **run: hub.update_info_dict(dict(
        iter=count, epoch=count // LENGTH, **run))
    for name in ('schedules', 'another run'):
        MessageHub._instance_dict.pop(name, None)


def losses_of(model):
    return total(model.loss(*batch()))


def made(type, **kwargs):
    return SCHEDULES.module_dict[type](**kwargs)


def factors(type, epochs=EPOCHS, length=LENGTH, **kwargs):
    """The factors of each iteration of a run."""
    schedule = made(type, **kwargs)
    return [schedule(Progress(done, done // length, epochs * length, epochs))
            for done in range(epochs * length)]


def by_epoch(type, **kwargs):
    """The factors of the epochs; within an epoch they are constant."""
    found = factors(type, **kwargs)
    starts = found[::LENGTH]
    assert found == [x for x in starts for _ in range(LENGTH)]
    return starts


# -- factors -----------------------------------------------------------------


def test_constant_weight_is_1_before_begin_and_from_end_on():
    assert by_epoch('ConstantWeight', factor=0.5, begin=1, end=3) == [
        1, 0.5, 0.5, 1, 1, 1]
    assert by_epoch('ConstantWeight', factor=2, begin=4) == [1, 1, 1, 1, 2, 2]
    assert factors('ConstantWeight', factor=0, end=3, by_epoch=False) == (
        [0] * 3 + [1] * 21)


def test_stop_weight_is_0_to_the_end_of_the_run():
    for begin in (4, -2):
        assert by_epoch('StopWeight', begin=begin) == [1, 1, 1, 1, 0, 0]
    for begin in (22, -2):
        assert factors('StopWeight', begin=begin, by_epoch=False) == (
            [1] * 22 + [0] * 2)
    assert not any(by_epoch('StopWeight', begin=-EPOCHS - 1))


def test_linear_weight_by_hand():
    assert by_epoch('LinearWeight', start_factor=0.2, end_factor=0.8, begin=1,
                    end=5) == pytest.approx([1, 0.2, 0.4, 0.6, 0.8, 0.8])
    assert by_epoch('LinearWeight', end_factor=0.5) == pytest.approx(
        [1, 0.9, 0.8, 0.7, 0.6, 0.5])
    assert by_epoch('LinearWeight', end_factor=0, end=1) == [1, 0, 0, 0, 0, 0]


def test_cosine_weight_by_hand():
    found = by_epoch('CosineAnnealingWeight', end_factor=0.2, begin=2, end=4)
    assert found == pytest.approx([1, 1, 1, 0.6, 0.2, 0.2])


def mmengines(scheduler, by_epoch, end, **kwargs):
    """A weight of 1 by mmengine's scheduler, in each iteration of a run."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    each = scheduler(optimizer, 'lr', by_epoch=by_epoch, end=end, **kwargs)
    optimizer.step()  # or torch warns of the order
    found = []
    for done in range(EPOCHS * LENGTH):
        found.append(optimizer.param_groups[0]['lr'])
        if not by_epoch or (done + 1) % LENGTH == 0:
            each.step()
    return found


@pytest.mark.parametrize('by_epoch', [True, False])
def test_curves_are_those_of_mmengines_schedulers(by_epoch):
    whole = EPOCHS if by_epoch else EPOCHS * LENGTH
    for end in (3, whole):
        ends = dict(end=None if end == whole else end, by_epoch=by_epoch)
        assert factors('LinearWeight', start_factor=0.25, end_factor=0.75,
                       **ends) == pytest.approx(mmengines(
                           LinearParamScheduler, by_epoch, end,
                           start_factor=0.25, end_factor=0.75))
    assert factors('CosineAnnealingWeight', end_factor=0.01,
                   by_epoch=by_epoch) == pytest.approx(mmengines(
                       CosineAnnealingParamScheduler, by_epoch, whole,
                       eta_min=0.01))


def test_linear_warmup_is_such_a_line():
    assert factors('LinearWarmup', iters=5) == pytest.approx(
        factors('LinearWeight', start_factor=1 / 5, end_factor=1, end=5,
                by_epoch=False))
    assert set(factors('LinearWarmup', iters=0)) == {1}


def test_published_uses():
    """RTMDet's CWD; YOLOv6 and DAMO-YOLO by their formulas; SDD."""
    assert by_epoch('StopWeight', epochs=300, begin=280) == by_epoch(
        'StopWeight', epochs=300, begin=-20) == [1] * 280 + [0] * 20
    assert by_epoch('CosineAnnealingWeight', epochs=300,
                    end_factor=0.01) == pytest.approx([
                        (1 - math.cos(epoch * math.pi / 300)) / 2
                        * (0.01 - 1) + 1 for epoch in range(300)])
    assert factors('CosineAnnealingWeight', end_factor=0.1,
                   each_epoch=True) == pytest.approx(EPOCHS * [
                       (1 - math.cos(i * math.pi / LENGTH)) / 2
                       * (0.1 - 1) + 1 for i in range(LENGTH)])
    assert factors('LinearWeight', end_factor=0.1,
                   each_epoch=True) == pytest.approx(
                       EPOCHS * [1, 0.7, 0.4, 0.1])
    assert factors('LinearWarmup', iters=4)[:5] == [0.25, 0.5, 0.75, 1, 1]


# -- in a run ----------------------------------------------------------------


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


def test_schedules_of_a_list_are_multiplied(iteration):
    cfg = distiller_cfg('gfl')
    plain = losses_of(build(cfg))
    cfg['kd_cfg']['schedule'] = dict(loss_reg_kd=[
        WARMUP, dict(type='ConstantWeight', factor=0.5, end=1),
        dict(type='StopWeight', begin=-1)])
    model = build(cfg)
    for done, part in ((0, 0.125), (3, 0.5), (4, 1), (19, 1), (20, 0)):
        iteration(done, **RUN)
        found = losses_of(model)
        assert found['loss_reg_kd'] == pytest.approx(
            part * plain['loss_reg_kd'], rel=1e-6)
        assert found['loss_cls_kd'] == plain['loss_cls_kd']


@SCHEDULES.register_module()
class FromThirdStep(Schedule):
    """0 until three iterations are done."""

    def __call__(self, progress):
        return float(progress.iter >= 3)


SCHEDULES.register_module(name='NoSchedule', module=dict)
FROM_THIRD = dict(type='FromThirdStep')


def test_a_schedule_goes_by_the_run_that_the_model_is_in(iteration):
    run = name_of_run()
    assert run == 'schedules' and progress_of(run) is None
    MessageHub.get_instance('another run').update_info('iter', 0)
    assert progress_of(run) == Progress(0)  # built before its Runner
    iteration(1, **RUN)
    assert progress_of(run) == Progress(1, 0, EPOCHS * LENGTH, EPOCHS)


def test_a_weight_that_begins_at_0_has_all_that_it_needs_later(iteration):
    cfg = distiller_cfg('gfl')
    cfg['kd_cfg']['schedule'] = dict.fromkeys(
        ('loss_cls_kd', 'loss_reg_kd'), FROM_THIRD)
    model = build(cfg)
    iteration(0)
    found = losses_of(model)
    assert found['loss_cls_kd'] == found['loss_reg_kd'] == 0
    iteration(3)
    assert losses_of(model)['loss_cls_kd'] > 0


def test_warmup_iters_of_sdd_is_such_a_schedule(iteration):
    iteration(0)
    whole = losses_of(build(sdd_cfg('gfl')))
    cfg = sdd_cfg('gfl', loss=dict(warmup_iters=2), schedule=dict(
        loss_sdd_box=dict(type='ConstantWeight', factor=0.5)))
    half = build(cfg)
    assert half.distillers.schedules.by_loss['loss_sdd_map'] == (
        LinearWarmup(2), )
    iteration(0, **RUN)
    for name, value in losses_of(half).items():
        if 'sdd' in name:  # one more of the config's does not replace it
            part = dict(loss_sdd_map=2, loss_sdd_box=4)[name]
            assert value == pytest.approx(whole[name] / part, rel=1e-6)


# -- off ---------------------------------------------------------------------


def step(model):
    """The losses of a batch, after their backward pass."""
    model.zero_grad()
    losses = model.loss(*batch())
    model.parse_losses(losses)[0].backward()
    return total(losses)


def scheduled(cfg, *names):
    cfg = copy.deepcopy(cfg)
    cfg['kd_cfg']['schedule'] = dict.fromkeys(names, FROM_THIRD)
    return build(cfg)


def test_layers_of_the_teacher_run_while_their_loss_is_on(iteration):
    cfg = distiller_cfg('gfl', loss_feat_kd=PKD)
    names = 'loss_cls_kd', 'loss_reg_kd', 'loss_feat_kd'
    for off, expected in ((names, (False, False)), (names[:2], (True, False)),
                          (names[1:], (True, False)),
                          (names[::2], (True, True))):
        model = scheduled(cfg, *off)
        teacher = model.teacher.detector
        iteration(3)
        step(model)  # which fuses the norms of the teacher
        backbone, tower, loss = map(runs_of, (
            teacher.backbone, teacher.bbox_head.reg_convs[-1],
            model.distillers.features.loss_feat_kd))
        iteration(2)
        losses = step(model)
        assert (bool(backbone), bool(tower)) == expected
        assert bool(loss) == ('loss_feat_kd' not in off)
        assert {name for name in names if losses[name] == 0} == set(off)
        iteration(3)
        assert all(step(model)[name] > 0 for name in names)


def test_a_step_with_all_losses_off_is_that_of_the_plain_student(iteration):
    cfg = distiller_cfg('gfl')
    model = scheduled(cfg, 'loss_cls_kd', 'loss_reg_kd')
    for key in ('teacher_config', 'teacher_ckpt', 'kd_cfg'):
        del cfg[key]
    plain = build(dict(cfg, type='GFL'))
    plain.load_state_dict(model.state_dict())
    iteration(0)
    losses, expected = step(model), step(plain)
    assert expected.items() <= losses.items()
    ours = dict(model.named_parameters())
    for name, parameter in plain.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(ours[name].grad, parameter.grad), name


def test_trained_layers_have_a_gradient_of_0_while_off(iteration):
    """DDP waits for a gradient of each of them."""
    cfg = learned()
    cfg['teacher_config']['model']['neck']['out_channels'] = 16
    cfg['teacher_config']['model']['bbox_head'].update(
        in_channels=16, feat_channels=16)
    model = scheduled(cfg, 'loss_cls_kd', 'loss_reg_kd')
    trained = {name: p for name, p in auxiliary_state(model).items()
               if p.requires_grad}
    assert {name.split('.')[0] for name in trained} == {'pair', 'distillers'}
    for done in (0, 3):
        iteration(done)
        step(model)
        for name, parameter in trained.items():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()) == (done == 3), name


@DISTILLERS.register_module()
class AlwaysComputed(Distiller):
    """It does not ask whether its loss counts."""

    @property
    def needs(self):
        return {'features'}

    def forward(self, paired):
        (ours, _), *_ = paired.features()
        return dict(loss_always=ours.square().mean())


def test_a_distiller_that_does_not_know_of_schedules_is_off_too(iteration):
    cfg = distiller_cfg('gfl', distillers=[dict(type='AlwaysComputed')])
    model = scheduled(cfg, 'loss_cls_kd', 'loss_reg_kd', 'loss_always')
    iteration(0)
    assert step(model)['loss_always'] == 0
    iteration(3)
    assert step(model)['loss_always'] > 0


def test_losses_that_are_off_are_tried_before_training(iteration):
    iteration(0)  # of a run before this one
    model = scheduled(learned(), 'loss_cls_kd', 'loss_reg_kd')
    losses = model.distillers.predictions
    losses.loss_cls_kd.forward = None
    with pytest.raises(ConfigError, match='kd_cfg.*TypeError'):
        try_pair(model)
    assert model.distillers.schedules.factor('loss_cls_kd') == 0


# -- bad input ---------------------------------------------------------------

CONSTANT, STOP, LINE = ('ConstantWeight', 'StopWeight', 'LinearWeight')


@pytest.mark.parametrize('schedule, words', [
    (3, 'kd_cfg.schedule must be a dict from the names'),
    (dict(loss_cls_kd=3), "kd_cfg.schedule.loss_cls_kd must be a dict with"),
    (dict(loss_cls_kd=[WARMUP, 3]),
     r"kd_cfg.schedule.loss_cls_kd\[1\] must be a dict with"),
    (dict(loss_cls_kd=dict(type='Linear')),
     "schedule.loss_cls_kd: unknown key 'Linear', expected LinearWarmup"),
    (dict(loss_cls_kd=[dict(type='StopWeigth', begin=1)]),
     r"schedule.loss_cls_kd\[0\]: unknown key .* did you mean 'StopWeight'"),
    (dict(loss_cls_kd=dict(type='NoSchedule')),
     'schedule.loss_cls_kd: expected a Schedule, found dict'),
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


@pytest.mark.parametrize('cfg, words', [
    (dict(type=CONSTANT), "missing .* 'factor'"),
    (dict(type=CONSTANT, factor=-1), 'factor must be finite and >= 0'),
    (dict(type=CONSTANT, factor='1'), "factor must be a number, found '1'"),
    (dict(type=CONSTANT, factor=1, begin=-1), 'begin must be .* found -1'),
    (dict(type=CONSTANT, factor=1, begin=1.5), 'begin must be an integer'),
    (dict(type=CONSTANT, factor=1, begin=True), 'begin must be a number'),
    (dict(type=CONSTANT, factor=1, begin=2, end=2),
     'end must be after begin=2, found 2'),
    (dict(type=CONSTANT, factor=1, by_epoch=1), 'by_epoch must be True or'),
    (dict(type=CONSTANT, factor=1, ende=2), "unexpected .* 'ende'"),
    (dict(type=STOP), "missing .* 'begin'"),
    (dict(type=STOP, begin=None), 'begin must be an integer, found None'),
    (dict(type=STOP, begin=1, by_epoch='no'), "by_epoch .* found 'no'"),
    (dict(type=LINE), "missing .* 'end_factor'"),
    (dict(type=LINE, end_factor=float('nan')), 'end_factor must be finite'),
    (dict(type=LINE, end_factor=1, start_factor=-1), 'start_factor must be'),
    (dict(type=LINE, end_factor=1, each_epoch=1), 'each_epoch must be True'),
    (dict(type=LINE, end_factor=1, each_epoch=True, end=3),
     'expected no begin and no end, found begin=0, end=3'),
])
def test_bad_arguments_are_errors_that_name_their_key(cfg, words):
    model = distiller_cfg('gfl')
    model['kd_cfg']['schedule'] = dict(loss_cls_kd=[WARMUP, cfg])
    with pytest.raises(ConfigError, match=r'^"?.*kd_cfg\.schedule\.loss_cls_kd'
                       rf'\[1\]: .*{words}'):
        build(model)


def test_a_schedule_of_no_loss_is_an_error():
    cfg = distiller_cfg('gfl')
    cfg['kd_cfg']['schedule'] = dict(loss_clss_kd=WARMUP)
    with pytest.raises(ConfigError, match='kd_cfg.schedule.loss_clss_kd: '
                       "there is no loss 'loss_clss_kd'; expected .*; did you "
                       "mean 'loss_cls_kd'"):
        losses_of(build(cfg))


def test_a_loop_that_does_not_say_its_length_is_an_error(iteration):
    cfg = distiller_cfg('gfl')
    cfg['kd_cfg']['schedule'] = dict(loss_cls_kd=dict(
        type=LINE, end_factor=0.5, by_epoch=False))
    model = build(cfg)
    iteration(0)
    with pytest.raises(ConfigError, match='does not say how many iterations'):
        losses_of(model)
