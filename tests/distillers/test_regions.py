"""Regions: where on the logit maps they are, and what they carry."""
import pytest
import torch
from helpers import (
    KINDS,
    NUM_CLASSES,
    batch,
    build,
    head_cfg,
    paired_maps,
    total,
)
from mmdet.structures.bbox import HorizontalBoxes
from torch.utils._python_dispatch import TorchDispatchMode

from crosskd import distillers
from crosskd.heads import adapter_of
from crosskd.losses import SDDLoss
from crosskd.losses.sdd_bases import BASES

pytestmark = pytest.mark.torch_only

SIZES = ((8, 12), (4, 6), (2, 3))  # of the levels of a 64 × 96 image


def family(kind):
    return adapter_of(build(head_cfg(kind)))


def map_regions(student, teacher, head, samples):
    return distillers.map_regions(
        paired_maps(head, student, teacher, samples), 'student')


def box_regions(student, teacher, head, samples):
    return distillers.box_regions(
        paired_maps(head, student, teacher, samples), 'student')


def logits(head, n=2, sizes=SIZES, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [
        torch.randn(n, head.num_priors * NUM_CLASSES, *size, generator=rng)
        for size in sizes
    ]


def samples_with(*boxes, size=(64, 96)):
    """One image a list of (x0, y0, x1, y1, label)."""
    _, samples = batch([len(b) for b in boxes], size)
    for sample, rows in zip(samples, boxes):
        rows = torch.tensor(rows, dtype=torch.float).reshape(-1, 5)
        sample.gt_instances.bboxes = rows[:, :4]
        sample.gt_instances.labels = rows[:, 4].long()
    return samples


# -- map ----------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_each_anchor_shape_is_a_map(kind):
    head = family(kind)
    x, t = logits(head), logits(head, seed=1)
    regions = map_regions(x, t, head, batch()[1])
    anchors = head.num_priors
    geometry = head.geometry(SIZES, (0, 1, 2), torch.device('cpu'))
    flat = head.flatten('cls', t, geometry, training=False).split(
        geometry.counts, 1)
    for maps, size, level in zip(regions, SIZES, flat):
        assert maps.teacher.shape == (2 * anchors, NUM_CLASSES, *size)
        assert maps.extents == [size] * 2 and maps.labels is None
        # as the distillation by location sees the same logits
        rows = maps.teacher.reshape(2, anchors, NUM_CLASSES, -1)
        torch.testing.assert_close(
            rows.permute(0, 3, 1, 2).reshape(2, -1, NUM_CLASSES), level)
        torch.testing.assert_close(
            maps.confidence, maps.teacher.sigmoid().amax(1))


@pytest.mark.parametrize('kind', KINDS)
def test_padding_is_masked_image_by_image(kind):
    head = family(kind)
    x, t = logits(head), logits(head, seed=1)
    _, samples = batch((1, 1))
    samples[1].set_metainfo(dict(img_shape=(32, 64)))
    regions = map_regions(x, t, head, samples)
    small = [[y[1:, :, :h // 2, :w * 2 // 3] for y, (h, w) in zip(z, SIZES)]
             for z in (x, t)]
    alone = map_regions(*small, head, batch((1, ), (32, 64))[1])
    loss = SDDLoss(scales=(1, ))
    anchors = head.num_priors
    for maps, cut, size in zip(regions, alone, SIZES):
        assert maps.extents == [size, *cut.extents]
        assert cut.extents == [cut.student.shape[2:]]
        padded = loss(maps.student[anchors:], maps.teacher[anchors:],
                      extents=maps.extents[1:] * anchors)
        torch.testing.assert_close(padded, loss(cut.student, cut.teacher))


def test_a_location_is_inside_where_its_centre_is():
    _, samples = batch((0, ))
    samples[0].set_metainfo(dict(img_shape=(33, 41)))
    for kind, rows, columns in (('gfl', 5, 6), ('fcos', 4, 5)):
        head = family(kind)  # centres at 0, 8, … and at 4, 12, …
        x = logits(head, 1)
        extents = map_regions(x, x, head, samples)[0].extents
        assert extents == [(rows, columns)]


def test_strides_may_differ_in_x_and_y():
    """Levels of 8 × 6 locations, 16 pixels apart in x and 8 in y."""
    head = adapter_of(build(head_cfg('retina', anchor_generator=dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=4,
        scales_per_octave=1, strides=[(16, 8)]))))
    _, samples = batch((1, 1))
    samples[1].set_metainfo(dict(img_shape=(32, 64)))
    x = logits(head, sizes=[(8, 6)])
    extents = map_regions(x, x, head, samples)[0].extents
    assert extents == [(8, 6), (4, 4)]
    y, x = torch.meshgrid(
        8.0 * torch.arange(8), 16.0 * torch.arange(6), indexing='ij')
    maps = [torch.stack([x, y, x])[None]]
    points = box_regions(maps, maps, head, samples_with([(16, 16, 48, 32, 0)]))
    points = points[0].student[0].mean((1, 2))
    torch.testing.assert_close(points, torch.tensor([32.0, 24, 32]))


# -- box ----------------------------------------------------------------------


def place_maps(head):
    """Class 0 says where a location is in x, class 1 in y, class 2 is 7."""
    levels = []
    anchors = head.num_priors
    geometry = head.geometry(SIZES, (0, 1, 2), torch.device('cpu'))
    for priors, size in zip(geometry.priors.split(geometry.counts), SIZES):
        centers = priors[:, :2]
        if head.name != 'FCOS':  # whose priors are points
            centers = (priors[:, :2] + priors[:, 2:]) / 2
        x, y = centers.reshape(*size, anchors, 2).unbind(-1)
        level = torch.stack([x, y, torch.full_like(x, 7)], -1)
        levels.append(level.flatten(2).permute(2, 0, 1)[None])
    return levels


@pytest.mark.parametrize('kind', KINDS)
def test_points_lie_on_a_grid_inside_the_box(kind):
    head = family(kind)
    maps = place_maps(head)
    box = (20.0, 16.0, 44.0, 32.0)
    (region, ) = box_regions(maps, maps, head, samples_with([(*box, 2)]))
    level = int(head.level_of(torch.tensor([box])))
    own = [i == level for i in range(3)]
    assert region.shares.tolist() == [own] * head.num_priors
    part = (torch.arange(8) + 0.5) / 8
    for sampled in region.student:
        torch.testing.assert_close(
            sampled[0], (box[0] + 24 * part).expand(8, 8))
        torch.testing.assert_close(
            sampled[1], (box[1] + 16 * part)[:, None].expand(8, 8))
        assert (sampled[2] - 7).abs().max() < 1e-5
    assert region.labels.tolist() == [2] * head.num_priors


@pytest.mark.parametrize('sizes', [SIZES, ((8, 12), (4, 1), (1, 1))])
@pytest.mark.parametrize('kind', KINDS)
def test_a_box_is_read_on_its_own_level(kind, sizes):
    head = family(kind)
    level = [torch.full((2, head.num_priors * NUM_CLASSES, *size), i + 1.0)
             for i, size in enumerate(sizes)]
    boxes = [(0.0, 0, s, s) for s in (8, 24, 60, 70, 90, 300)]
    samples = samples_with([(*b, 1) for b in boxes[::2]],
                           [(*b, 2) for b in boxes[1::2]])
    for sample in samples:  # as if the images were larger than the maps
        sample.set_metainfo(dict(img_shape=(400, 400)))
    x = [m.requires_grad_() for m in level]
    (region, ) = box_regions(x, level, head, samples)
    own = head.level_of(torch.tensor(boxes[::2] + boxes[1::2]))
    assert set(own.tolist()) == {0, 1, 2}
    own = own.repeat_interleave(head.num_priors)
    assert torch.equal(region.shares.long().argmax(1), own)
    assert region.shares.sum() == len(own)
    torch.testing.assert_close(
        region.student,
        (own + 1.0).view(-1, 1, 1, 1).expand_as(region.student))
    (region.student[own == 1].sum()).backward()
    assert [m.grad.abs().max() > 0 for m in x] == [False, True, False]


@pytest.mark.parametrize('kind', KINDS)
def test_boxes_of_levels_that_are_not_shared_count_for_nothing(kind):
    head = family(kind)
    x, t = logits(head, 1), logits(head, 1, seed=1)
    paired = paired_maps(head, x, t, samples_with(
        [(0, 0, 10, 10, 0), (0, 0, 58, 58, 1), (0, 0, 96, 64, 2)]))
    (every, ) = distillers.box_regions(paired, 'student')
    assert every.shares.any(1).all()
    paired.student_levels = paired.teacher_levels = [2]
    (some, ) = distillers.box_regions(paired, 'student')
    assert torch.equal(some.shares, every.shares[:, 2:])
    here = some.shares[:, 0]
    torch.testing.assert_close(some.student[here], every.student[here])
    loss = SDDLoss()
    totals, count = loss.sums([some])
    assert float(count) == 21 * int(here.sum())
    torch.testing.assert_close(totals[0], loss.sums([every])[0][2])


@pytest.mark.parametrize('kind', KINDS)
def test_boxes_of_several_images_keep_their_labels_and_order(kind):
    head = family(kind)
    x = [torch.cat([m, m + 1000]) for m in place_maps(head)]
    samples = samples_with([(16, 16, 40, 40, 0), (32, 8, 56, 32, 1)], [],
                           [(40, 24, 64, 48, 2)])
    x = [torch.cat([m[:1], m[:1], m[1:]]) for m in x]
    regions = box_regions(x, x, head, samples)
    (region, ) = regions
    anchors = len(region.student) // 3
    assert region.labels.tolist() == [
        label for label in (0, 1, 2) for _ in range(anchors)]
    means = region.student[::anchors, 0].mean((1, 2))
    torch.testing.assert_close(means, torch.tensor([28.0, 44.0, 1052.0]))


@pytest.mark.parametrize('kind', KINDS)
def test_boxes_at_the_border_and_one_pixel_boxes(kind):
    head = family(kind)
    maps = place_maps(head)
    samples = samples_with([(-30, -30, 10, 10, 0), (90, 60, 130, 90, 1),
                            (33, 17, 34, 18, 2), (50, 50, 50, 50, 0),
                            (200, 200, 220, 220, 1)])
    regions = box_regions(maps, maps, head, samples)
    (region, ) = regions
    assert len(region.student) == 5 * head.num_priors
    pixel = region.student[region.labels == 2][:1, :2].flatten(2)
    torch.testing.assert_close(
        pixel.mean(2), torch.tensor([[33.5, 17.5]]), rtol=0, atol=1e-3)
    # the first box as far as it is in the image, from its first location on
    first = region.student[region.labels == 0]
    places = first[first[:, 0].amax((1, 2)) < 20][0, 0, 0]
    part = 10 * (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(
        places, part.clamp(min=head.offset * head.strides[0][0]))


@pytest.mark.parametrize('kind', KINDS)
def test_a_box_is_sampled_as_far_as_it_lies_in_the_image(kind):
    head = family(kind)
    maps = place_maps(head)
    samples = samples_with([(20, 10, 400, 300, 0)])
    samples[0].set_metainfo(dict(img_shape=(40, 80)))  # of 64 × 96
    regions = box_regions(maps, maps, head, samples)
    level = int(head.level_of(torch.tensor([[20.0, 10, 80, 40]])))
    (region, ) = regions
    assert region.shares.sum(0)[level] == len(region.shares)
    stride, part = 8 * 2**level, (torch.arange(8) + 0.5) / 8
    for axis, (low, end) in enumerate([(20, 80), (10, 40)]):
        first = stride * head.offset
        last = first + stride * ((end - first - 1) // stride)
        torch.testing.assert_close(
            region.student[0, axis].select(axis, 0),
            (low + (end - low) * part).clamp(first, last))


@pytest.mark.parametrize('kind', KINDS)
def test_boxes_of_a_padded_image_read_nothing_of_the_padding(kind):
    head = family(kind)
    x, t = logits(head), logits(head, seed=1)
    boxes = [(4, 4, 20, 20, 0), (30, 10, 64, 32, 1), (0, 0, 64, 32, 2)]
    samples = samples_with([], boxes)
    samples[1].set_metainfo(dict(img_shape=(32, 64)))
    cut = [[y[1:, :, :h // 2, :w * 2 // 3] for y, (h, w) in zip(z, SIZES)]
           for z in (x, t)]
    padded = box_regions(x, t, head, samples)
    alone = box_regions(*cut, head, samples_with(boxes, size=(32, 64)))
    for a, b in zip(padded, alone):
        torch.testing.assert_close(a.student, b.student)
        torch.testing.assert_close(a.teacher, b.teacher)
        assert a.labels.tolist() == b.labels.tolist()
        assert torch.equal(a.shares, b.shares)


@pytest.mark.parametrize('kind', KINDS)
def test_no_boxes_at_all(kind):
    head = family(kind)
    x = [level.requires_grad_() for level in logits(head)]
    regions = box_regions(x, logits(head, seed=1), head, samples_with([], []))
    total = sum(SDDLoss()(r.student, r.teacher, r.labels) for r in regions)
    assert total == 0
    total.backward()
    assert all(level.grad.abs().max() == 0 for level in x)


@pytest.mark.parametrize('kind', KINDS)
def test_gradient_stays_in_the_box(kind):
    head = family(kind)
    x = [level.requires_grad_() for level in logits(head, 1)]
    samples = samples_with([(16, 16, 40, 40, 1)])
    regions = box_regions(x, logits(head, 1, seed=1), head, samples)
    sum(SDDLoss()(r.student, r.teacher, r.labels) for r in regions).backward()
    level = int(head.level_of(torch.tensor([[16.0, 16.0, 40.0, 40.0]])))
    stride = head.strides[level][0]
    grad = x[level].grad[0].abs().sum(0)
    assert grad.max() > 0
    assert grad[40 // stride + 1:].sum() == 0
    assert grad[:, 40 // stride + 1:].sum() == 0


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('order', [(2, 1, 0, 3), (0, 3, 2, 1), (2, 3, 0, 1)])
def test_a_box_that_is_inside_out_is_the_same_region(kind, order):
    """Its loss is that of the box whose corners are in order."""
    head = family(kind)
    x, t = logits(head), logits(head, seed=1)
    box = (20.0, 8.0, 84.0, 50.0)
    turned = tuple(box[i] for i in order)
    proper, found = (box_regions(x, t, head, samples_with([(*b, 1)], []))[0]
                     for b in (box, turned))
    assert torch.equal(found.shares, proper.shares) and proper.shares.any()
    for ours, theirs in ((found.student, proper.student),
                         (found.teacher, proper.teacher)):
        for side, start, end in ((3, 0, 2), (2, 1, 3)):
            if order[start] == end:
                ours = ours.flip(side)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('kind', KINDS)
def test_larger_boxes_belong_to_coarser_levels(kind):
    head = family(kind)
    boxes = torch.tensor([[0.0, 0.0, s, s] for s in (1, 12, 24, 70, 300)])
    levels = head.level_of(boxes).tolist()
    assert levels == sorted(levels)
    assert levels[0] == 0 and levels[-1] == len(SIZES) - 1
    assert head.level_of(boxes[:0]).shape == (0, )


def test_levels_are_those_that_the_heads_assign_to():
    """Anchors of 32, 64 and 128; FCOS reaches up to 32 and 64."""
    for kind, sides, levels in (
        ('gfl', (44, 46, 90, 92), [0, 1, 1, 2]),
        ('fcos', (63, 65, 127, 129), [0, 1, 1, 2])):
        boxes = torch.tensor([[0.0, 0.0, s, s] for s in sides])
        assert family(kind).level_of(boxes).tolist() == levels


@pytest.mark.parametrize('kind, sides, level', [
    # the geometric mean counts: 32, 64 and 128 are the middles of the levels
    ('gfl', (8, 128), 0), ('gfl', (32, 128), 1), ('gfl', (64, 256), 2),
    ('atss', (8, 128), 0), ('atss', (32, 128), 1), ('atss', (64, 256), 2),
    # two octaves a level: about 38, 76 and 152
    ('retina', (9, 160), 0), ('retina', (36, 160), 1),
    ('retina', (80, 300), 2),
    # half the longer side counts: up to 32 and 64
    ('fcos', (2, 60), 0), ('fcos', (20, 120), 1), ('fcos', (20, 140), 2)])
def test_a_long_box_lies_on_one_level_however_it_lies(kind, sides, level):
    head = family(kind)
    for width, height in (sides, sides[::-1]):
        for x, y in ((0, 0), (300, 7), (7, 300)):
            box = torch.tensor([[x, y, x + width, y + height]]).float()
            assert head.level_of(box).tolist() == [level]


class Waits(TorchDispatchMode):
    """Refuses what makes the host wait for a device's results."""

    ops = ('_local_scalar_dense', 'nonzero', 'masked_select', 'unique',
           'equal.default', 'repeat_interleave.Tensor')

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).removeprefix('aten.')
        by_mask = name.startswith('index') and any(
            x.dtype == torch.bool for x in args[1:] for x in (
                x if isinstance(x, (list, tuple)) else [])
            if isinstance(x, torch.Tensor))
        assert not name.startswith(self.ops) and not by_mask, name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('weighting', ['all', 'confidence'])
@pytest.mark.parametrize('base', BASES)
@pytest.mark.parametrize('kind', KINDS)
def test_a_step_waits_for_nothing(kind, base, weighting):
    head = family(kind)
    x, t = logits(head), logits(head, seed=1)
    paired = paired_maps(head, x, t, samples_with(
        [(0, 0, 10, 10, 0), (0, 0, 58, 58, 1)], []))
    paired.pair.all_classes = False  # and only two of three are shared
    paired.pair.shared_student = torch.tensor([0, 2])
    paired.pair.shared_teacher = torch.tensor([1, 2])
    paired.pair.shared_label = torch.tensor([0, -1, 1])
    distiller = distillers.RegionDistiller(
        dict(type='SDDLoss', base=base), sdd_weighting=weighting)
    distiller(paired)  # what is kept of these sizes
    with Waits():
        losses = distiller(paired)
    assert total(losses)['loss_sdd_box'] > 0


def test_boxes_may_be_mmdets_box_type():
    head = family('gfl')
    x, t = logits(head), logits(head, seed=1)
    samples = samples_with([(16, 16, 40, 40, 1)], [(0, 0, 20, 20, 0)])
    plain = box_regions(x, t, head, samples)
    for sample in samples:
        sample.gt_instances.bboxes = HorizontalBoxes(
            sample.gt_instances.bboxes)
    for a, b in zip(plain, box_regions(x, t, head, samples)):
        torch.testing.assert_close(a.student, b.student)
