"""Schedules of loss weights in real runs, whole and resumed."""
import copy
import re

import pytest
import torch
from families import quick_cases
from helpers import distiller_cfg, sdd_cfg
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from resuming import made, resumed_and_whole

from crosskd.config import read_kd_cfg
from crosskd.engine.run_checks import check_schedules
from crosskd.errors import ConfigValueError

WARMUP = dict(type='LinearWarmup', iters=5)
COSINE = dict(type='CosineAnnealingWeight', end_factor=0.1)
#: each changes its factor after the first of three epochs
KINDS = dict(
    constant=dict(type='ConstantWeight', factor=0.5, end=2),
    stop=dict(type='StopWeight', begin=-1),
    linear=dict(type='LinearWeight', start_factor=0.2, end_factor=2.0),
    cosine=COSINE,
    each_epoch=dict(COSINE, each_epoch=True),
    iterations=dict(COSINE, by_epoch=False),
    warmup=WARMUP,
    list=[WARMUP, dict(type='StopWeight', begin=2)])


def scheduled(schedule, kind='gfl'):
    """A student with that schedule of all of its distillation losses."""
    return distiller_cfg(kind, schedule=dict.fromkeys(
        ('loss_cls_kd', 'loss_reg_kd'), schedule))


def logged(runner, name):
    """The values of a loss in all iterations of a run."""
    return runner.message_hub.get_scalar(f'train/{name}').data[0]


@pytest.mark.parametrize('kind', quick_cases(['each_epoch', 'list'], KINDS))
def test_a_resumed_run_ends_as_a_whole_one(tmp_path, kind):
    torch.testing.assert_close(
        *resumed_and_whole(tmp_path, model=scheduled(KINDS[kind])),
        rtol=0, atol=0)


def test_a_run_of_sdd_that_stops_in_its_last_epoch_is_resumed(tmp_path):
    torch.testing.assert_close(*resumed_and_whole(tmp_path, model=sdd_cfg(
        'gfl', loss=dict(warmup_iters=10), schedule=dict(
            loss_sdd_map=KINDS['stop']))), rtol=0, atol=0)


def test_a_loss_is_off_in_the_epochs_that_say_so(tmp_path):
    runner = made(tmp_path, 3, model=scheduled(KINDS['stop']))
    found = logged(runner, 'loss_cls_kd')
    length = len(found) // 3
    assert (found[:2 * length] > 0).all()
    assert not found[2 * length:].any()
    assert not logged(runner, 'loss_reg_kd')[2 * length:].any()
    assert (logged(runner, 'loss_cls') > 0).all()


ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=6)


def test_the_end_of_a_run_of_iterations(tmp_path):
    schedule = [dict(type='ConstantWeight', factor=1e-3, by_epoch=False),
                dict(type='StopWeight', begin=-2, by_epoch=False)]
    runner = made(tmp_path, 0, model=scheduled(schedule),
                  train_cfg=ITERATIONS, loader=dict(sampler=dict(
                      type='InfiniteSampler')))
    found = logged(runner, 'loss_cls_kd')
    assert (0 < found[:4]).all() and (found[:4] < 0.1).all()
    assert len(found) == 6 and not found[4:].any()


def test_a_run_of_iterations_is_resumed(tmp_path):
    kwargs = dict(
        model=scheduled(KINDS['iterations']), train_cfg=ITERATIONS,
        loader=dict(sampler=dict(type='InfiniteSampler')), default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False,
                            interval=3)))
    made(tmp_path / 'whole', 0, **copy.deepcopy(kwargs))
    made(tmp_path / 'parts', 0, resume=True,
         load_from=str(tmp_path / 'whole/iter_3.pth'), **kwargs)
    whole, parts = (torch.load(tmp_path / name / 'iter_6.pth',
                               weights_only=False)['state_dict']
                    for name in ('whole', 'parts'))
    torch.testing.assert_close(parts, whole, rtol=0, atol=0)


@pytest.mark.parametrize('loop', [
    ITERATIONS, dict(by_epoch=False, max_iters=6),
    dict(type=IterBasedTrainLoop, max_iters=6),
    object.__new__(IterBasedTrainLoop)])
def test_epochs_of_a_run_that_has_none_are_an_error(loop):
    for schedule in (COSINE, KINDS['stop'], KINDS['constant'], [
            WARMUP, dict(COSINE, by_epoch=False, each_epoch=True)]):
        with pytest.raises(ConfigValueError, match=re.escape(
                'kd_cfg.schedule.loss_cls_kd: ') + '.*counts epochs, but the '
                'train loop .*expected by_epoch=False'):
            check_schedules(schedules_of(schedule), loop)
    check_schedules(schedules_of([WARMUP, KINDS['iterations']]), loop)


@pytest.mark.parametrize('loop', [
    dict(type='EpochBasedTrainLoop', max_epochs=3), dict(max_epochs=3),
    dict(by_epoch=True, max_epochs=3), dict(type='NoSuchLoop'), None,
    object.__new__(EpochBasedTrainLoop)])
def test_epochs_of_a_run_that_has_them_are_no_error(loop):
    check_schedules(schedules_of(COSINE), loop)


def schedules_of(schedule):
    cfg = scheduled(schedule)['kd_cfg']
    return read_kd_cfg(cfg, (), 'cross_head')[1].schedules.by_loss


@pytest.mark.parametrize('loop, off', [
    (dict(by_epoch=True, max_epochs=20), True), (dict(max_epochs=21), False),
    (dict(type=EpochBasedTrainLoop, max_epochs=12), True)])
def test_a_loss_that_is_off_in_the_whole_run_is_a_warning(loop, off, log):
    """As in a short run of a recipe that ends without it."""
    check_schedules(schedules_of(dict(type='StopWeight', begin=-20)), loop)
    said = 'turns this loss off for the whole run, which has' in (
        log.text)
    assert said == off
