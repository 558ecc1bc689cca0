"""A GPU computes what the CPU computes; see docs/developing.md."""
import pytest
import torch
from helpers import KINDS, batch, build, distiller_cfg

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='no GPU, or it is hidden')
TOLERANCES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, 'allow_tf32', False)
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def on(device):
    inputs, samples = batch((3, 2), (128, 160))
    return inputs.to(device), [sample.to(device) for sample in samples]


@pytest.mark.parametrize('dtype', TOLERANCES, ids=str)
@pytest.mark.parametrize('kind', KINDS)
def test_losses_are_those_of_the_cpu(kind, dtype):
    model = build(distiller_cfg(kind))
    expected = model.parse_losses(model.loss(*on('cpu')))[1]
    model.cuda()
    with torch.autocast('cuda', dtype, enabled=dtype != torch.float32):
        total, log = model.parse_losses(model.loss(*on('cuda')))
    total.backward()
    for name, value in expected.items():
        assert log[name].item() == pytest.approx(
            value.item(), rel=TOLERANCES[dtype]), name
    assert all(p.grad is None or p.grad.isfinite().all()
               for p in model.parameters())


@pytest.mark.parametrize('kind', KINDS)
def test_detections_are_those_of_the_cpu(kind):
    model = build(distiller_cfg(kind)).eval()
    with torch.no_grad():
        expected = model.predict(*on('cpu'))
        found = model.cuda().predict(*on('cuda'))
    for a, b in zip(expected, found):
        a, b = a.pred_instances, b.pred_instances.cpu()
        assert len(a) == len(b) and len(a)
        torch.testing.assert_close(a.scores, b.scores, rtol=0, atol=1e-5)
