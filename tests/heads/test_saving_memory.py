"""What layers that do not train keep for the backward pass."""
import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn import functional as F

from crosskd.heads.saving_memory import SavingMemory

pytestmark = pytest.mark.torch_only


def features(grad=True):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 6, 5, generator=rng,
                       dtype=torch.float64).requires_grad_(grad)


def tower(**kwargs):
    torch.manual_seed(0)
    layers = nn.Sequential(
        ConvModule(8, 8, 3, padding=1, norm_cfg=dict(type='GN', num_groups=2)),
        ConvModule(8, 12, 3, padding=2, dilation=2, groups=4),
        ConvModule(12, 4, (1, 3), stride=2, act_cfg=dict(type='LeakyReLU')),
        nn.ReLU(), nn.Conv2d(4, 3, 3, padding='same', bias=False))
    return layers.double().requires_grad_(False)


def run(layers, x, little):
    """Result, gradient of the input, and bytes kept that are not the input."""
    kept = {}

    def pack(saved):
        if not isinstance(saved, nn.Parameter):
            storage = saved.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        if little:
            with SavingMemory():
                out = layers(x)
        else:
            out = layers(x)
    kept.pop(x.untyped_storage().data_ptr(), None)
    grad, = torch.autograd.grad(out.square().sum(), x)
    return out, grad, sum(kept.values())


def test_results_and_gradients_are_torchs_and_less_is_kept():
    layers, x = tower(), features()
    out, grad, kept = run(layers, x, little=False)
    ours, our_grad, ours_kept = run(layers, x, little=True)
    assert torch.equal(ours, out)
    torch.testing.assert_close(our_grad, grad, rtol=1e-12, atol=1e-12)
    assert ours_kept < 0.6 * kept


def test_a_convolution_keeps_no_input_and_a_relu_a_byte_a_value():
    x = features()
    _, _, conv = run(nn.Conv2d(8, 8, 1).double().requires_grad_(False),
                     x, little=True)
    _, _, relu = run(nn.ReLU(), x, little=True)
    assert conv == 0 and relu == x.numel()


@pytest.mark.parametrize('inplace', [False, True])
def test_a_relu_in_place_writes_where_torchs_does(inplace):
    x = features()
    before = x * 2
    with SavingMemory():
        after = F.relu(before, inplace=inplace)
    assert (after.data_ptr() == before.data_ptr()) == inplace
    assert torch.equal(after, (x * 2).relu())
    grad, = torch.autograd.grad(after.sum(), x)
    assert torch.equal(grad, 2.0 * (x > 0))


@pytest.mark.parametrize('part', ['weight', 'bias'])
def test_what_trains_is_left_to_torch(part):
    layer = nn.Conv2d(8, 4, 3).double().requires_grad_(False)
    getattr(layer, part).requires_grad_()
    with SavingMemory():
        layer(features()).sum().backward()
    assert getattr(layer, part).grad.abs().sum() > 0


def test_gradients_are_those_of_differences():
    layers, x = tower(), features()

    def little(x):
        with SavingMemory():
            return layers(x)

    assert torch.autograd.gradcheck(little, x)


def test_without_gradients_it_does_nothing():
    layers, x = tower(), features(grad=False)
    with SavingMemory():
        out = layers(x)
    assert torch.equal(out, layers(x)) and not out.requires_grad


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_under_autocast_gradients_have_the_type_of_the_features(dtype):
    layer, x = nn.Conv2d(8, 4, 3).requires_grad_(False), features().float()
    x = x.detach().requires_grad_()
    grads = []
    for little in (False, True):
        try:
            with torch.autocast('cpu', dtype):
                out, grad, _ = run(layer, x, little)
        except RuntimeError:
            pytest.skip('this torch has no such autocast on a CPU')
        assert out.dtype == dtype and grad.dtype == x.dtype
        grads.append(grad)
    torch.testing.assert_close(*grads, rtol=2e-2, atol=2e-2)
