"""Two gloo ranks: equal weights, and what equals one process."""
import copy
import math
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from any_detectors import of_kind
from experiments import experiment, model_cfg, write
from helpers import (
    BCE,
    KINDS,
    SDD,
    batch,
    build,
    distiller_cfg,
    sdd_cfg,
    total,
    wide_teacher,
)
from mmengine.model import convert_sync_batchnorm
from mmengine.optim import OptimWrapper
from ranks import SIZE, wrapped
from torch import nn
from torch.testing import assert_close

from conftest import REPO
from crosskd.losses import SDDLoss
from crosskd.pairs import dense_pass

PKD = dict(type='PKDLoss', loss_weight=1.0)

# -- the loss alone ----------------------------------------------------------


def maps():
    rng = torch.Generator().manual_seed(0)
    s, t = torch.randn(2, 5, 4, 8, 8, generator=rng, dtype=torch.float64)
    labels = torch.randint(4, (5, ), generator=rng)
    weight = torch.rand(5, 8, 8, generator=rng, dtype=torch.float64)
    return s.requires_grad_(), t, labels, weight


def sdd_gradient(rank, cut):
    s, *rest = maps()
    part = slice(0, cut) if rank == 0 else slice(cut, 5)
    SDDLoss()(s[part], *(x[part] for x in rest)).backward()
    dist.all_reduce(s.grad)
    return s.grad / 2


@pytest.mark.parametrize('cut', [2, 5])  # with 5 one rank sees nothing
def test_mean_of_two_ranks_gradients_is_that_of_one_process(ranks, cut):
    s, *rest = maps()
    SDDLoss()(s, *rest).backward()
    assert s.grad.abs().max() > 0
    for gradient in ranks(sdd_gradient, cut):
        assert_close(gradient, s.grad)


# -- many steps --------------------------------------------------------------


def train(rank, cfg, boxes, steps):
    """Weights after steps as mmengine's train loop makes them."""
    model = wrapped(build(cfg))
    model.module.init_weights()
    optim = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9),
        clip_grad=dict(max_norm=10))
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    for step in range(steps):
        images, samples = batch(boxes[rank], SIZE, seed=2 * step + rank)
        data = dict(inputs=list(images * 50 + 120), data_samples=samples)
        log = model.train_step(data, optim)
        assert all(x.isfinite().all() for x in log.values())
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    return after, float((after - before).abs().max())


@pytest.mark.parametrize('cfg, boxes', [
    *((distiller_cfg(kind), ((2, ), (0, ))) for kind in KINDS),
    (distiller_cfg('gfl'), ((2, 1), (3, ))),
    (distiller_cfg('atss', region='positives'), ((0, ), (0, ))),
    (sdd_cfg('fcos'), ((2, ), (0, ))),
    (wide_teacher(distiller_cfg('gfl', loss_feat_kd=PKD)), ((2, ), (0, ))),
    *((distiller_cfg('gfl', loss_feat_kd=dict(type=loss)), ((2, ), (0, )))
      for loss in ('MGDLoss', 'FGDLoss')),  # which have layers
    *(pytest.param(of_kind(kind), ((2, 0), (0, 1)), marks=pytest.mark.slow)
      for kind in ('faster', 'dino', 'ssd')),
], ids=[*KINDS, 'uneven', 'nothing', 'sdd', 'adapters', 'MGD', 'FGD',
        'faster', 'dino', 'ssd'])
def test_ranks_agree_after_many_steps(ranks, cfg, boxes):
    """Also where one rank never sees a box, with no search for the unused."""
    (ours, moved), (theirs, _) = ranks(train, cfg, boxes, 15)
    assert moved > 0
    assert torch.equal(ours, theirs)


def train_by(rank, cfg, schedule):
    """Weights, and losses by step, where a hook sets the losses' weights."""
    model = wrapped(build(cfg))
    model.module.init_weights()
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.005))
    log = []
    for step, weights in enumerate(schedule):
        for name, loss in model.module.distillers.named_modules():
            key = name.rpartition('.')[2]
            if key in weights:
                loss.loss_weight = weights[key]
        images, samples = batch((2, ), SIZE, seed=2 * step + rank)
        log.append(model.train_step(
            dict(inputs=list(images * 50 + 120), data_samples=samples),
            optim))
    return [p.detach() for p in model.parameters()], [
        {key: float(x) for key, x in losses.items()} for losses in log]


def test_weights_may_change_while_ranks_train(ranks):
    """An adapter whose loss is 0 has a gradient, which DDP waits for."""
    cfg = wide_teacher(distiller_cfg('gfl', loss_feat_kd=PKD))
    keys = 'loss_cls_kd', 'loss_reg_kd', 'loss_feat_kd'
    schedule = [dict(zip(keys, weights)) for weights in (
        (0, 0, 0), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1),
        (1, 1, 1), (0, 0, 0), (1, 1, 0))]
    (ours, log), (theirs, _) = ranks(train_by, cfg, schedule)
    assert_close(ours, theirs, rtol=0, atol=0)
    for weights, losses in zip(schedule, log):
        assert {key: losses[key] > 0 for key in keys} == {
            key: weight > 0 for key, weight in weights.items()}


# -- what equals one process -------------------------------------------------

ALL = (3, 0, 2)  # boxes in the images of both ranks
CUT = 2  # of which rank 0 has so many


def exact(cfg):
    """In float64, without statistics of a batch.

    Classes are as likely as not: heads bound their own divisors by 1 a rank,
    and GFL's is a sum of scores.
    """
    cfg = copy.deepcopy(cfg)
    cfg['backbone']['norm_eval'] = True
    model = build(cfg).double()
    with torch.no_grad():
        for name, p in model.bbox_head.named_parameters():
            if name.endswith('_cls.bias'):
                p.zero_()
    return model.train()


def part(rank, seed=0, boxes=ALL):
    """The images of a rank; of both where it is None."""
    images, samples = batch(boxes, SIZE, seed=seed)
    mine = {None: slice(None), 0: slice(0, CUT), 1: slice(CUT, None)}[rank]
    return images.double()[mine], samples[mine]


def gradient(rank, cfg, align=True):
    """Losses and the gradient, which DDP averages over ranks."""
    model = exact(cfg)
    model = wrapped(model) if rank is not None else model
    kept = dense_pass.align_statistics
    if not align:
        dense_pass.align_statistics = lambda students, teachers: [
            x + 0 for x in students]
    losses = model(*part(rank), mode='loss')
    dense_pass.align_statistics = kept
    bare = getattr(model, 'module', model)
    bare.parse_losses(losses)[0].backward()
    return total(losses), [p.grad for p in model.parameters()]


PLAIN = dict(prediction='student')
EQUAL = dict(
    gfl=distiller_cfg('gfl', **PLAIN),
    atss=distiller_cfg('atss', **PLAIN),
    fcos=distiller_cfg('fcos', **PLAIN, loss_center_kd=BCE),
    boxes=distiller_cfg('gfl', **PLAIN, loss_reg_kd=dict(type='GIoULoss')),
    positives=distiller_cfg('fcos', **PLAIN, region='positives'),
    confidence=distiller_cfg('atss', **PLAIN, region='confidence'),
    other_head=distiller_cfg(
        'gfl', teacher_kind='fcos', **PLAIN,
        loss_reg_kd=dict(type='GIoULoss')),
    sdd_gfl=sdd_cfg('gfl'),
    sdd_fcos=sdd_cfg('fcos', sdd_weighting='confidence'))
DIFFERENT = dict(
    crosskd=distiller_cfg('gfl', loss_sdd=SDD),
    pkd=distiller_cfg('gfl', **PLAIN, loss_feat_kd=dict(type='PKDLoss')),
    retina=distiller_cfg('retina', **PLAIN))


def compare(ranks, cfg, *args):
    """Whether losses and gradients of two ranks average to one process's."""
    (losses, ours), (more_losses, theirs) = ranks(gradient, cfg, *args)
    one_losses, one = gradient(None, cfg, *args)
    assert_close(ours, theirs, rtol=0, atol=0)
    equal = {
        key: (losses[key] + more_losses[key]) / 2 == pytest.approx(
            value, rel=1e-5)
        for key, value in one_losses.items()
    }
    close = all(torch.allclose(a, b, rtol=1e-4, atol=1e-6)
                for a, b in zip(ours, one, strict=True))
    return close, {key for key, same in equal.items() if not same}


@pytest.mark.parametrize('name', EQUAL)
def test_two_ranks_learn_as_one_process_would(ranks, name):
    """With images of equal size and no statistics of a batch."""
    assert compare(ranks, EQUAL[name]) == (True, set())


@pytest.mark.parametrize('name, losses', [
    ('crosskd', {'loss_cls_kd', 'loss_reg_kd', 'loss_sdd_map',
                 'loss_sdd_box'}),
    ('pkd', {'loss_feat_kd'}),
    ('retina', {'loss_cls', 'loss_bbox', 'loss_cls_kd', 'loss_reg_kd'})])
def test_what_is_of_one_rank(ranks, name, losses):
    assert compare(ranks, DIFFERENT[name]) == (False, losses)


def test_crosskd_differs_by_the_statistics_alone(ranks):
    assert compare(ranks, DIFFERENT['crosskd'], False) == (True, set())


def accumulate(rank, cfg, steps=4):
    model = exact(cfg)
    model = wrapped(model) if rank is not None else model
    optim = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
        accumulative_counts=2)
    bare = getattr(model, 'module', model)
    for seed in range(steps):  # as a train_step, in float64
        with optim.optim_context(model):
            losses = model(*part(rank, seed), mode='loss')
        optim.update_params(bare.parse_losses(losses)[0])
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize('name', ['gfl', 'sdd_fcos'])
def test_accumulated_gradients_are_those_of_one_process(ranks, name):
    start = [p.detach() for p in exact(EQUAL[name]).parameters()]
    ours, theirs = ranks(accumulate, EQUAL[name])
    one = accumulate(None, EQUAL[name])
    assert_close(ours, theirs, rtol=0, atol=0)
    assert_close(ours, one, rtol=1e-4, atol=1e-6)
    assert any((a - b).abs().max() > 1e-3
               for a, b in zip(start, one, strict=True))


# -- a loss that nobody can train with ---------------------------------------


def refused(rank, value, skips):
    """What a process with a sound loss, and one without, are told; weights."""
    model = wrapped(build(distiller_cfg('gfl'))).train()
    bare = model.module
    bare.stops_at_nonfinite = not skips
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    distil = bare.distillers.predictions.forward

    def spoilt(paired):
        losses = distil(paired)
        losses['loss_reg_kd'][1] = losses['loss_reg_kd'][1] * 0 + value
        return losses

    def step(seed):
        losses = model(*batch((2, 3), SIZE, seed=seed), mode='loss')
        optim.update_params(bare.parse_losses(losses)[0])

    def weights():
        return [p.detach().clone() for p in model.parameters()]

    step(rank)
    before, message = weights(), ''
    if rank == 1:
        bare.distillers.predictions.forward = spoilt
    try:
        step(2 + rank)
    except FloatingPointError as e:
        message = str(e)
    kept = weights()
    bare.distillers.predictions.forward = distil
    if not skips:  # and go on, with all that DDP holds
        step(4 + rank)
    return message, before, kept, weights()


@pytest.mark.parametrize('value, is_wrong', [
    (math.nan, 'is not finite'), (math.inf, 'is not finite'),
    (-3.0, 'is below zero')])
def test_all_processes_refuse_a_loss_of_one(ranks, value, is_wrong):
    """None waits for one that has stopped, none steps with its gradient."""
    ours, theirs = ranks(refused, value, False)
    assert f'{is_wrong}: loss_reg_kd of level 1 ({value})' in theirs[0]
    assert 'in another process' in ours[0]
    for _, before, kept, after in (ours, theirs):
        assert_close(kept, before, rtol=0, atol=0)
        assert all(p.isfinite().all() for p in after)
        assert any(not torch.equal(p, q) for p, q in zip(before, after))
    assert_close(ours[3], theirs[3], rtol=0, atol=0)


def test_processes_that_skip_are_not_stopped(ranks):
    """By SkipNonFiniteHook, which looks at the gradients that all have."""
    assert [message for message, *_ in ranks(refused, math.nan, True)] == [
        '', '']


# -- sync_bn -----------------------------------------------------------------


@pytest.mark.parametrize('cfg', [distiller_cfg('gfl'), sdd_cfg('fcos')])
def test_synchronised_batch_norm_is_the_students_alone(cfg):
    """What the Runner does for ``sync_bn='torch'``.

    torch's SyncBatchNorm takes CPU tensors outside a process group only, so
    two ranks of it need GPUs.
    """
    model, converted = build(cfg), build(cfg)
    teacher = converted.teacher.detector
    layers = [type(m) for m in teacher.modules()]
    converted = convert_sync_batchnorm(converted, 'torch')
    assert not any(type(m) is nn.BatchNorm2d for m in converted.modules())
    assert converted.teacher.detector is teacher
    assert [type(m) for m in teacher.modules()] == layers
    images, samples = batch()
    assert total(converted.loss(images, samples)) == total(
        model.loss(images, samples))


# -- a rank that dies --------------------------------------------------------


def random_teacher(rank):
    """What a run with diff_rank_seed has: another seed on each rank."""
    model = build(distiller_cfg('gfl'), seed=rank)
    return [{k: v.double().sum().item() for k, v in m.state_dict().items()}
            for m in (model, model.teacher.detector)]


def test_a_random_teacher_is_the_same_on_all_ranks(ranks):
    (student, teacher), (other, same) = ranks(random_teacher)
    assert student != other
    assert teacher == same
    assert teacher == random_teacher(0)[1]  # as without ranks


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_job(shapes_root, tmp_path):
    write(tmp_path / 'dies.py', experiment(
        model_cfg(distiller_cfg('gfl')),
        data_root=f'{shapes_root}/data/shapes/',
        custom_hooks=[dict(type='KillRank1')],
        custom_imports=dict(imports=['crosskd', 'every_rank'])))
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    path = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    done = subprocess.run(
        ['bash', REPO / 'tools/dist_train.sh', tmp_path / 'dies.py', '2',
         '--work-dir', tmp_path / 'runs'], cwd=shapes_root, timeout=240,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'PATH': path, 'PORT': str(port),
             'PYTHONPATH': str(REPO / 'tests' / 'lib'),
             'OMP_NUM_THREADS': '1'})
    assert done.returncode != 0
    assert re.search(r'Epoch\(train\) +\[1\]\[1/2\]', done.stdout)
    assert re.search(r'rank +: 1 .*\n +exitcode +: -9 ', done.stdout), (
        done.stdout[-3000:])
    assert not list(tmp_path.rglob('*.pth'))
