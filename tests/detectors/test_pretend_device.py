"""Every method on every head: no op that mixes devices, without a GPU."""
import pytest
import torch
from families import as_params
from helpers import (
    ALL,
    BCE,
    GIOU,
    KINDS,
    KL,
    METHODS,
    batch,
    build,
    distiller_cfg,
    sdd_cfg,
)
from pretend_device import DEVICE, Elsewhere, on_device, pretend_device

from crosskd.compat import mmcv_ext
from crosskd.distillers import predictions
from crosskd.pairs import dense_pass

pytestmark = pytest.mark.torch_only


def step(model):
    """A training step on the pretend device; returns its losses."""
    model.train()
    model.join_teacher()
    model.to(DEVICE)
    inputs, samples = on_device(*batch())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, foreach=False)
    loss, log = model.parse_losses(model.loss(inputs, samples))
    loss.backward()
    optimizer.step()
    return {name: float(value) for name, value in log.items()}


MOST = ('CrossKD', 'SDD, map and box')  # of what there is
QUICK = [(kind, method) for kind in KINDS for method in MOST]
SLOW = [(kind, method) for kind in KINDS for method in METHODS
        if method not in MOST] + [
    (kind, method) for kind in ALL if kind not in KINDS for method in MOST]
CASES = as_params(QUICK + SLOW, slow=SLOW)


@pytest.mark.parametrize('kind, method', CASES)
def test_a_step_mixes_no_devices(kind, method):
    model = build(METHODS[method](kind))
    with pretend_device():
        log = step(model)
    assert all(isinstance(p, Elsewhere) for p in model.state_dict().values())
    # the numbers are those of the CPU
    here = build(METHODS[method](kind))
    _, expected = here.parse_losses(here.loss(*batch()))
    assert log == pytest.approx({k: float(v) for k, v in expected.items()},
                                rel=1e-4)


OTHERS = {
    'other priors and normalisation': distiller_cfg(
        'retina', teacher_kind='gfl', loss_reg_kd=KL, region='positives'),
    'other priors, quality': distiller_cfg(
        'gfl', teacher_kind='fcos', loss_reg_kd=GIOU, loss_center_kd=BCE,
        region='confidence'),
    'encoded boxes': distiller_cfg(
        'fcos', teacher_kind='retina', loss_reg_kd=dict(type='L1Loss')),
    'SDD, dkd': sdd_cfg('atss', loss=dict(base='dkd'),
                        sdd_weighting='confidence'),
    'SDD, nkd': sdd_cfg('gfl', loss=dict(base='nkd', label_free=True)),
}
OTHERS['other priors and normalisation']['teacher_config']['model'][
    'data_preprocessor'].update(mean=[1.0, 2.0, 3.0], bgr_to_rgb=False)


@pytest.mark.parametrize('name', OTHERS)
def test_nor_do_other_pairs_and_losses(name):
    model = build(OTHERS[name])
    with pretend_device():
        assert sum(step(model).values()) > 0


def test_nor_do_the_stand_ins_for_compiled_ops():
    rng = torch.Generator().manual_seed(0)
    boxes, scores = torch.rand(20, 4, generator=rng).cumsum(1), torch.rand(
        20, generator=rng)
    logits, target = torch.randn(6, 4, generator=rng), torch.arange(6) % 5
    with pretend_device():
        kept = mmcv_ext.nms(boxes.to(DEVICE), scores.to(DEVICE), 0.3, 0)
        loss, grad = (torch.zeros(6, 4, device=DEVICE) for _ in 'ab')
        args = logits.to(DEVICE), target.to(DEVICE), loss.new_zeros(0)
        mmcv_ext.sigmoid_focal_loss_forward(*args, loss, 2.0, 0.25)
        mmcv_ext.sigmoid_focal_loss_backward(*args, grad, 2.0, 0.25)
    assert torch.equal(kept.numbers, mmcv_ext.nms(boxes, scores, 0.3, 0))
    assert 0 < len(kept) < 20
    assert loss.numbers.min() > 0 and grad.numbers.abs().min() > 0


# -- the device itself --------------------------------------------------------


def times(found, factor):
    if isinstance(found, list):
        return [x * factor for x in found]
    return found * factor


@pytest.mark.parametrize('module, place', [
    (dense_pass, 'align_statistics'), (predictions, 'reduce_mean')])
def test_a_tensor_left_on_the_cpu_is_an_error(module, place, monkeypatch):
    original = getattr(module, place)
    monkeypatch.setattr(
        module, place,
        lambda *args: times(original(*args), torch.ones(3, 1, 1, 1)[:1]))
    model = build(distiller_cfg('gfl'))
    with pretend_device(), pytest.raises(RuntimeError, match='on the CPU'):
        step(model)


def test_what_a_gpu_refuses_is_refused():
    here = torch.arange(6.0)
    with pretend_device():
        there = here.to(DEVICE)
        index = torch.tensor([1, 2], device=DEVICE)
        for op in (lambda: here + there, lambda: torch.cat([here, there]),
                   lambda: there.gather(0, index.cpu()), lambda: here[index],
                   lambda: there.masked_fill(here > 1, 0),
                   lambda: torch.where(here > 1, there, there),
                   lambda: there.add_(here), lambda: there.numpy(),
                   lambda: there.index_put((index, ), here[:2])):
            with pytest.raises((RuntimeError, TypeError)):
                op()
        # and what it takes is taken
        there[index.cpu()] = there.new_tensor([7, 8])
        there *= torch.tensor(2.0)
        assert there.tolist() == [0, 14, 16, 6, 8, 10]
        assert there[there > 8].cpu().tolist() == [14, 16, 10]
    assert here.tolist() == [0, 1, 2, 3, 4, 5]
