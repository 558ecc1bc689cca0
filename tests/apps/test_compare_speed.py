"""Time per image and FLOPs, of networks that can be counted by hand."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from crosskd.apps.compare import speed


class Network(BaseModel):
    """A convolution of 3 channels to 8, 3 × 3, and ``then``."""

    def __init__(self, then=lambda x: x):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.then = then
        self.seen = []

    def forward(self, inputs, data_samples, mode='tensor'):
        assert not torch.is_grad_enabled() and not self.training
        self.seen.append((len(inputs), mode, data_samples))
        return self.then(self.layer(inputs))


def runner(model, images=5):
    samples = [dict(inputs=torch.ones(3, 10, 20), data_samples=i)
               for i in range(images)]

    def collate(parts):
        return dict(inputs=torch.stack([p['inputs'] for p in parts]),
                    data_samples=[p['data_samples'] for p in parts])

    return SimpleNamespace(
        model=model.train(), test_loop=SimpleNamespace(),
        test_dataloader=SimpleNamespace(dataset=samples, collate_fn=collate))


def test_flops_are_those_of_the_convolution():
    model = Network()
    forward = model.forward
    found = speed.measure(runner(model))['flops']
    # 8 channels × 3 × 3 × 3 weights × 10 × 20 places
    assert found == dict(count=8 * 27 * 200, reason=None, not_counted=[],
                         size=[10, 20])
    assert model.seen[-1] == (1, 'tensor', [0]) and model.forward == forward


def test_what_is_not_counted_is_named():
    model = Network(lambda x: x.cumsum(2))
    found = speed.measure(runner(model))['flops']
    assert found['count'] == 8 * 27 * 200
    assert found['not_counted'] == ['aten::cumsum']


def test_a_network_that_cannot_be_traced_has_no_flops():
    class Unknown:
        pass

    found = speed.measure(runner(Network(lambda x: Unknown())))['flops']
    assert found['count'] is None and found['size'] == [10, 20]
    assert 'Unknown' in found['reason']


@pytest.mark.parametrize('seconds, median, measured', [
    ([9, 9, 9, 1, 3], 2.0, 2),  # the first three are not measured
    ([0.5, 0.25], 0.375, 2),  # unless there are no others
    ([9, 9, 9, *[1] * 40], 1.0, 30)])
def test_the_time_is_a_median_of_images(monkeypatch, seconds, median,
                                        measured):
    clock = iter([t for s in seconds for t in (0, s)])
    monkeypatch.setattr(speed, 'time', SimpleNamespace(
        monotonic=lambda: 0, perf_counter=lambda: next(clock)))
    model = Network()
    found = speed.measure(runner(model, len(seconds)))['inference']
    assert found == dict(seconds=median, images=measured,
                         device='CPU, 1 thread')
    assert all(one[:2] == (1, 'predict') for one in model.seen[:-1])


def test_after_20_seconds_no_more_images_are_measured(monkeypatch):
    clock = iter([0, 1, 2, 3, 15, 21])
    monkeypatch.setattr(speed, 'time', SimpleNamespace(
        monotonic=lambda: next(clock), perf_counter=lambda: 1))
    assert speed.measure(runner(Network(), 9))['inference']['images'] == 2
