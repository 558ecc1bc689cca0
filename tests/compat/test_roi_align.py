"""RoIAlign of the stand-in, against its definition, one sample at a time."""
import math
from itertools import product

import pytest
import torch
from mmcv.ops import roi_align

from crosskd.compat import mmcv_ext
from crosskd.compat import roi_align as ours

SHAPE = (2, 3, 7, 9)
SCALE = 0.5
BINS = (2, 3)
# xyxy in pixels of the image, which has 18 × 14
BOXES = dict(
    inside=(3, 2, 12, 11), tiny=(5, 5, 5.01, 5.02), point=(4, 4, 4, 4),
    flat=(2, 6, 16, 6), whole=(0, 0, 18, 14), huge=(-200, -90, 300, 120),
    partly=(-7, -3, 4, 30), outside=(-90, -90, -60, -70), beyond=(
        40, 2, 60, 12), at_edges=(-2, -2, 2.2, 2.6), last=(18, 14, 19, 15))


def maps():
    return torch.randn(SHAPE, dtype=torch.float64,
                       generator=torch.Generator().manual_seed(0))


def rois(boxes):
    return torch.tensor([[i % 2, *box] for i, box in enumerate(boxes)],
                        dtype=torch.float64).reshape(-1, 5)


def sample(image, y, x):
    """Bilinear: no more than a pixel outside it is that of the edge."""
    channels, height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return image.new_zeros(channels)
    y, x = (min(max(c, 0), side - 1) for c, side in ((y, height), (x, width)))
    return sum(
        (1 - abs(y - i)) * (1 - abs(x - j)) * image[:, i, j]
        for i in range(height) for j in range(width)
        if abs(y - i) < 1 and abs(x - j) < 1)


def roi_align_by_hand(images, boxes, bins, scale, ratio, mode, aligned):
    shift = 0.5 if aligned else 0
    out = []
    for number, *box in boxes.tolist():
        x0, y0, x1, y1 = (c * scale - shift for c in box)
        sides = [y1 - y0, x1 - x0]
        if not aligned:
            sides = [max(side, 1) for side in sides]
        cells = [side / n for side, n in zip(sides, bins)]
        grid = [ratio or math.ceil(cell) for cell in cells]
        for p, q in product(*map(range, bins)):
            samples = [
                sample(images[int(number)],
                       y0 + (p + (i + .5) / grid[0]) * cells[0],
                       x0 + (q + (j + .5) / grid[1]) * cells[1])
                for i, j in product(*map(range, grid))]
            if not samples:
                out.append(images.new_full(
                    images.shape[1:2], -10000 if mode == 'max' else 0))
            elif mode == 'avg':
                out.append(sum(samples) / len(samples))
            else:
                out.append(torch.stack(samples).amax(0))
    return torch.stack(out).view(len(boxes), *bins, -1).permute(0, 3, 1, 2)


class Through(torch.autograd.Function):
    """The stand-in's op as mmcv's function calls it."""

    @staticmethod
    def forward(ctx, images, boxes, op, bins, scale, ratio, mode, aligned):
        ctx.shape, ctx.op = images.shape, op
        ctx.kwargs = dict(
            aligned_height=bins[0], aligned_width=bins[1],
            spatial_scale=scale, sampling_ratio=ratio,
            pool_mode=int(mode == 'avg'), aligned=aligned)
        out = images.new_zeros(len(boxes), images.size(1), *bins)
        at = [torch.zeros_like(out) if mode == 'max' else out.new_zeros(0)
              for _ in range(2)]
        op.roi_align_forward(images, boxes, out, *at, **ctx.kwargs)
        ctx.save_for_backward(boxes, *at)
        return out

    @staticmethod
    def backward(ctx, grad):
        found = grad.new_zeros(ctx.shape)
        ctx.op.roi_align_backward(
            grad.contiguous(), *ctx.saved_tensors, found, **ctx.kwargs)
        return (found, *[None] * 7)


def both(one, other, *args, dtype=torch.float64):
    """What two of them return, and the gradients of the maps."""
    results = []
    for pool in (one, other):
        images = maps().to(dtype).requires_grad_()
        out = pool(images, *args)
        weights = torch.linspace(-1, 2, out.numel()).to(out)
        (grad, ) = torch.autograd.grad(
            (out * weights.view(out.shape)).sum(), images)
        results.append((out.detach(), grad))
    return zip(*results)


def stand_in(images, boxes, *args):
    return Through.apply(images, boxes, ours, *args)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('ratio', [0, 1, 2, 3])
def test_it_is_its_definition(ratio, mode, aligned):
    boxes = rois(box for name, box in BOXES.items()
                 # of which the loop is slow
                 if ratio or name != 'huge')
    for a, b in both(stand_in, roi_align_by_hand, boxes, BINS, SCALE, ratio,
                     mode, aligned):
        torch.testing.assert_close(a, b)


def test_one_box_is_what_it_is_among_others(monkeypatch):
    """Boxes are computed some at a time."""
    args = rois(BOXES.values()), BINS, SCALE, 0, 'avg', True
    expected = stand_in(maps(), *args)
    monkeypatch.setattr(ours, 'AT_ONCE', 1)
    for a, b in both(stand_in, lambda x, boxes, *rest: torch.cat(
            [stand_in(x, box[None], *rest) for box in boxes]), *args):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(stand_in(maps(), *args), expected)


def test_no_boxes():
    out, grad = both(stand_in, stand_in, rois([]), BINS, SCALE, 0, 'avg',
                     True)
    assert out[0].shape == (0, SHAPE[1], *BINS) and not grad[0].any()


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_the_gradient_is_that_of_finite_differences(mode):
    boxes = rois([BOXES['inside'], BOXES['partly'], BOXES['whole']])
    assert torch.autograd.gradcheck(
        lambda x: stand_in(x, boxes, BINS, SCALE, 2, mode, True),
        maps().requires_grad_(), fast_mode=True)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_under_autocast(dtype):
    """In float32, rounded once; boxes are whole numbers here."""
    boxes, images = rois(BOXES.values()), maps().to(dtype)
    args = boxes, BINS, SCALE, 2, 'avg', True
    expected = stand_in(images.float(), *args)
    with torch.autocast('cpu', torch.bfloat16):
        found = stand_in(images, *args)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype))


@pytest.mark.parametrize('box', [(5, 5, 2, 8), (math.nan, 0, 1, 1),
                                 (0, 0, math.inf, 1)])
def test_a_box_that_is_none_is_an_error(box):
    with pytest.raises(RuntimeError, match='RoIAlign: boxes must be finite'):
        stand_in(maps(), rois([box]), BINS, SCALE, 0, 'avg', True)


@pytest.mark.skipif(mmcv_ext.is_installed(), reason='no compiled ops')
@pytest.mark.parametrize('ratio', [0, 1, 2, 3])
@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_the_compiled_op_gives_the_same(ratio, mode, aligned, dtype):
    from mmcv.ops.roi_align import ext_module
    free = torch.rand(200, 2, 2, generator=torch.Generator().manual_seed(0))
    free = (free.sort(1)[0] * 40 - 10).flatten(1).tolist()
    boxes = rois([*BOXES.values(), *free]).to(dtype)
    outputs, (grad, expected) = both(
        stand_in, lambda x, boxes, *args: Through.apply(
            x, boxes, ext_module, *args),
        boxes, (7, 5), SCALE, ratio, mode, aligned, dtype=dtype)
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    # a pixel's gradient is a sum of thousands of terms of both signs
    torch.testing.assert_close(grad, expected, rtol=1e-5, atol=max(
        1e-5, 1e-6 * float(expected.abs().max())))


@pytest.mark.skipif(not mmcv_ext.is_installed(), reason='compiled ops')
def test_mmcvs_own_function_works_on_it():
    boxes = rois(BOXES.values())
    for a, b in both(
            lambda x, boxes, bins, *args: roi_align(x, boxes, bins, *args),
            stand_in, boxes, BINS, SCALE, 0, 'avg', True):
        assert torch.equal(a, b)
