"""Half precision: finite where float32 is, float32 where it matters."""
import copy
import functools
import warnings

import pytest
import torch
from families import FAMILY
from helpers import (
    BCE,
    KINDS,
    NUM_CLASSES,
    SDD,
    batch,
    build,
    distiller_cfg,
    every_output,
    has_float16_convolutions,
    needs_float16,
    paired_maps,
    plain_cfg,
    total,
)
from torch.utils._python_dispatch import TorchDispatchMode

from crosskd.engine.trial import try_pair
from crosskd.heads import HeadRecord, adapter_of, record
from crosskd.losses import (
    KDQualityFocalLoss,
    KnowledgeDistillationKLDivLoss,
    PKDLoss,
    SDDLoss,
    sdd_loss,
)
from crosskd.losses.logit_maps import LogitMaps
from crosskd.losses.sdd_bases import BASES
from crosskd.numerics.statistics import align_statistics, standardize
from crosskd.pairs import DensePass
from crosskd.registry import REGIONS
from crosskd.taps import Needs
from crosskd.teacher import holding, precision

pytestmark = pytest.mark.torch_only

STEPS = 70


def has_float16_autocast():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with torch.autocast('cpu', torch.float16):
                return torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == (
                    torch.float16)
    except RuntimeError:
        return False


FLOAT16 = pytest.param(torch.float16, id='float16', marks=pytest.mark.skipif(
    not has_float16_autocast(),
    reason='this torch has no float16 autocast on CPUs (2.1 has none)'))
BFLOAT16 = pytest.param(torch.bfloat16, id='bfloat16')
AUTOCAST = pytest.mark.parametrize('dtype', [BFLOAT16, FLOAT16])
HALVES = pytest.mark.parametrize(
    'dtype', [torch.bfloat16, torch.float16], ids=['bfloat16', 'float16'])


def distiller(kind, backbone=True, **kd):
    """CrossKD, SDD and PKD in one detector, every loss that the head has."""
    if FAMILY[kind].third == 'loss_center_kd':
        kd['loss_center_kd'] = BCE
    cfg = distiller_cfg(kind, teacher_width=8, loss_sdd=SDD,
                        loss_feat_kd=dict(type='PKDLoss'), **kd)
    if not backbone:  # stage 2 and what FPN makes of it: half the time
        for model in (cfg, cfg['teacher_config']['model']):
            model['backbone'].update(num_stages=2, out_indices=(1, ),
                                     strides=(1, 2), dilations=(1, 1))
            model['neck'].update(in_channels=[16], start_level=0)
    return build(cfg).train()


def autocast(dtype):
    return torch.autocast('cpu', dtype or torch.bfloat16,
                          enabled=dtype is not None)


def check_finite(losses):
    for key, values in losses.items():
        for value in values if isinstance(values, list) else [values]:
            assert value.isfinite(), (key, values)
            if key.endswith('_kd') or '_sdd_' in key:
                assert value.dtype == torch.float32, key


def gradients(model, value, scale=1.0):
    """Gradients of a scaled loss, unscaled; None where one overflows."""
    model.zero_grad()
    (value * scale).backward(retain_graph=True)
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert any(g.abs().max() > 0 for g in found)
    if not all(g.isfinite().all() for g in found):
        return None
    torch._foreach_div_(found, scale)
    return found


# -- training under autocast --------------------------------------------------


@functools.cache
def train(kind, dtype=None):
    """Losses of every step, with a loss scale as torch's GradScaler has it."""
    model = distiller(kind, backbone=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs, samples = batch((2, 1), (64, 64))
    scale, history = 2.0**16, []
    for _ in range(STEPS):
        with autocast(dtype):
            losses = model.loss(inputs, samples)
        check_finite(losses)
        value, _ = model.parse_losses(losses)
        if gradients(model, value, scale) is None:
            scale /= 2
        else:
            optimizer.step()
        history.append(value.item())
    return history, scale


@pytest.mark.parametrize('kind, dtype', [
    pytest.param(kind, *dtype.values, id=f'{kind}-{dtype.id}', marks=[
        *dtype.marks, *[pytest.mark.slow] * (kind != quick)])
    for dtype, kinds, quick in ((FLOAT16, KINDS, 'gfl'),
                                (BFLOAT16, ('gfl', 'fcos'), 'fcos'))
    for kind in kinds])
def test_training_stays_finite_and_learns(kind, dtype):
    history, scale = train(kind, dtype)
    in_float32, _ = train(kind)
    assert scale >= 1  # few steps were skipped
    assert history[-1] < 0.5 * history[0]
    assert history[-1] == pytest.approx(in_float32[-1], rel=0.5)


# -- what is computed in float32 ----------------------------------------------


def numbers(*shape, scale=1.0, shift=0.0, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return scale * (2 * torch.rand(*shape, generator=rng) - 1) + shift


def sdd_sums(base, **kwargs):
    loss = SDDLoss(base, scales=(1, 2, 3, 4), **kwargs)
    labels = torch.tensor([0, 2])
    return lambda x, t: torch.cat([y.view(1) for y in loss.sums(
        [LogitMaps(x, t, labels, extents=[(64, 64), (64, 40)])],
        [t.float().sigmoid().amax(1)])])


def on_vectors(loss):
    def channels_last(x):
        return x.movedim(1, -1).flatten(0, -2)

    return lambda x, t: loss(channels_last(x), channels_last(t))


def align(x, t):
    return align_statistics([x], [t])[0]


# each of two (2, 3, 64, 64) maps, the first of which learns
FUNCTIONS = {
    'standardize': lambda x, t: standardize([x])[0],
    'PKD': PKDLoss(),
    'QFL': on_vectors(KDQualityFocalLoss()),
    'KL': on_vectors(KnowledgeDistillationKLDivLoss(T=1)),
    'SDD': sdd_loss,
    **{f'SDD {base}': sdd_sums(base, temperature=1.0) for base in BASES},
}


@HALVES
@pytest.mark.parametrize('name', FUNCTIONS)
def test_half_inputs_are_computed_on_in_float32(name, dtype):
    x, t = (numbers(2, 3, 64, 64, scale=4.0, seed=i).to(dtype)
            for i in range(2))
    exact = FUNCTIONS[name](x.float(), t.float())
    for enabled in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            value = FUNCTIONS[name](x, t)
        assert value.dtype == torch.float32
        assert torch.equal(value, exact)


@HALVES
def test_alignment_rounds_only_its_result(dtype):
    x, t = (numbers(2, 3, 64, 64, scale=4.0, seed=i).to(dtype)
            for i in range(2))
    exact = align(x.float(), t.float())
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(align(x, t), exact.to(dtype))
        assert torch.equal(align(x, t.float()), exact)


@HALVES
@pytest.mark.parametrize('region', REGIONS.module_dict)
def test_regions_of_half_logits_are_pooled_in_float32(region, dtype):
    inputs, samples = batch()
    model = distiller('gfl')
    maps = [numbers(2, NUM_CLASSES, 64 // s, 96 // s).to(dtype)
            for s in (8, 16, 32)]
    read = [
        REGIONS.module_dict[region](paired_maps(
            adapter_of(model.bbox_head), m, m, samples), 'student')
        for m in (maps, [m.float() for m in maps])
    ]
    for half, exact in zip(*read):
        assert half.confidence.dtype == torch.float32
        assert torch.equal(half.confidence, exact.confidence)
        assert torch.equal(half.student.float(), exact.student)


@AUTOCAST
@pytest.mark.parametrize('prediction', ['cross_head', 'student'])
@pytest.mark.parametrize('kind', KINDS)
def test_boxes_and_qualities_are_compared_in_float32(kind, prediction, dtype):
    model = distiller(kind, prediction=prediction)
    seen = []
    for key in ('loss_reg_kd', 'loss_center_kd'):
        loss = getattr(model.distillers.predictions, key, None)
        if loss is not None:
            loss.register_forward_pre_hook(lambda _, args: seen.extend(args))
    with autocast(dtype):
        check_finite(model.loss(*batch()))
    assert seen and all(x.dtype == torch.float32 for x in seen)


@AUTOCAST
@pytest.mark.parametrize('loss', ['GIoULoss', 'L1Loss', 'SmoothL1Loss'])
@pytest.mark.parametrize('kind', KINDS)
def test_predictions_are_compared_in_float32(kind, loss, dtype):
    model = distiller(kind, prediction='student',
                      loss_reg_kd=dict(type=loss))
    inputs, samples = batch()
    with autocast(dtype):
        _, paired = model.paired(inputs, samples, needs=(
            model.distillers.needs | every_output(model)))
        found = model.distillers(paired)
    s, t = paired._learned, paired._taught
    for seen in (s, t):
        seen.outputs = {name: [x.float() for x in levels]
                        for name, levels in seen.outputs.items()}
    exact = model.distillers(DensePass(model.pair, s, t, samples))
    for key, values in exact.items():
        assert all(map(torch.equal, found[key], values)), key


# -- large numbers ------------------------------------------------------------


@HALVES
@pytest.mark.parametrize('shift', [0.0, 1e4])
@pytest.mark.parametrize('name', [*FUNCTIONS, 'align'])
def test_large_half_inputs_do_not_overflow(name, shift, dtype):
    # float16 ends at 65504; the sum over a map is 4e7, that of squares 4e11
    x, t = (numbers(2, 3, 64, 64, scale=1e4, shift=shift, seed=i).to(dtype)
            for i in range(2))
    x.requires_grad_()
    function = {**FUNCTIONS, 'align': align}[name]
    value = function(x, t)
    assert value.isfinite().all()
    value.float().abs().mean().backward()
    assert x.grad.isfinite().all()


def magnify(model):
    """Let the heads have features of a magnitude of 1e4."""
    def hook(module, args, features):
        return tuple(f / f.detach().abs().max() * 1e4 for f in features)

    for detector in (model, model.teacher.detector):
        detector.neck.register_forward_hook(hook)


@pytest.mark.parametrize('dtype', [None, BFLOAT16, FLOAT16])
@pytest.mark.parametrize('prediction', ['cross_head', 'student'])
@pytest.mark.parametrize('kind', KINDS)
def test_large_features_do_not_overflow(kind, prediction, dtype):
    model = distiller(kind, prediction=prediction)
    magnify(model)
    with autocast(dtype):
        losses = model.loss(*batch())
    check_finite(losses)
    value, _ = model.parse_losses(losses)
    # float16 gradients may need less scaling than none, as GradScaler finds
    assert any(gradients(model, value, 0.5**i) for i in range(
        16 if dtype == torch.float16 else 1))


def test_a_lone_peak_is_aligned_within_the_range_of_float16():
    peak = torch.zeros(1, 1, 128, 128)
    peak[..., 0, 0] = 1  # 128 deviations high
    teacher = numbers(1, 1, 128, 128, scale=1e4).half()
    assert align(peak.half(), teacher).isfinite().all()


# -- small maps, no boxes -----------------------------------------------------


@AUTOCAST
@pytest.mark.parametrize('boxes', [0, 2])
@pytest.mark.parametrize('kind', KINDS)
def test_a_single_location_stays_finite(kind, boxes, dtype):
    model = distiller(kind)
    model.backbone.eval()  # its batch norm needs more than one value
    with autocast(dtype):
        losses = model.loss(*batch((boxes, ), (32, 32)))
    check_finite(losses)
    assert gradients(model, model.parse_losses(losses)[0])


@pytest.mark.parametrize('dtype', [None, BFLOAT16, FLOAT16])
@pytest.mark.parametrize('kind', KINDS)
def test_without_boxes_losses_stay_in_order(kind, dtype):
    model = distiller(kind)
    with autocast(dtype):
        losses = model.loss(*batch((0, 0)))
    check_finite(losses)
    assert all(value < 1e4 for value in total(losses).values())
    assert gradients(model, model.parse_losses(losses)[0])


def test_fcos_divides_by_its_centerness_wherever_a_rank_has_some(monkeypatch):
    model = distiller('fcos')
    adapter = adapter_of(model.bbox_head)
    inputs, samples = batch()
    with record(adapter) as seen:
        model.bbox_head.loss(model.extract_feat(inputs), samples)
    none = model.bbox_head.centerness_target(torch.zeros(0, 4))

    def normalizer(centerness):
        returned = dict(seen.returned, centerness_target=[centerness])
        record = HeadRecord(adapter=adapter, returned=returned)
        return adapter.targets(record, 2).normalizers['cls']

    some = adapter.targets(seen, 2).normalizers['cls']
    assert some > 0 and some != 1
    assert normalizer(none) == 1
    for mean in (1e-9, 0.25, 7.0):  # of all ranks: others have positives
        monkeypatch.setattr('crosskd.heads.fcos.reduce_mean',
                            lambda x, mean=mean: x.new_tensor(mean))
        assert float(normalizer(none)) == pytest.approx(max(mean, 1e-6))


# -- the teacher's own type ---------------------------------------------------

NAMES = ('float32', 'bfloat16', 'float16')
ASKED = [None, 'float32', 'bfloat16',
         pytest.param('float16', marks=needs_float16)]


def student_of(kind, dtype=None, **kd):
    return build(dict(distiller_cfg(kind, **kd), teacher_dtype=dtype)).train()


def held(model):
    """Types of the teacher's weights, but those of its head; and of that."""
    body, head = set(), set()
    for name, x in model.teacher.detector.state_dict().items():
        if x.is_floating_point():
            (head if name.startswith('bbox_head') else body).add(x.dtype)
    (body, ), (head, ) = body, head
    return body, head


@pytest.mark.parametrize('dtype, kind, words', [
    ('fp16', ValueError, "teacher_dtype='fp16': no such type; expected "
     "'float32', 'bfloat16', 'float16' or None"),
    ('float64', ValueError, "teacher_dtype='float64': no such type"),
    (torch.float16, TypeError, 'teacher_dtype must be a string, found '
     "torch.float16; expected 'float32'"),
    (16, TypeError, 'teacher_dtype must be a string, found 16')])
def test_a_bad_type_is_an_error_when_the_model_is_built(dtype, kind, words):
    with pytest.raises(kind, match=words):
        build(dict(distiller_cfg('gfl'), teacher_dtype=dtype), joins=False)


@pytest.mark.parametrize('auto', [None, BFLOAT16, FLOAT16])
@pytest.mark.parametrize('asked', ASKED)
def test_the_teacher_is_held_in_what_was_asked_or_in_autocasts_type(
        asked, auto):
    model = student_of('gfl', asked, loss_feat_kd=dict(type='PKDLoss'))
    with autocast(auto):
        check_finite(model.loss(*batch()))
    expected = getattr(torch, asked) if asked else auto or torch.float32
    head = torch.float32
    if asked is None or expected == auto or (
            asked == 'bfloat16' and auto is None):
        head = expected
    assert held(model) == (expected, head)
    # whatever its student does then
    for move in (lambda: model.to('cpu'), model.float, model.double):
        move()
        if asked or auto:
            assert held(model) == (expected, head)


def test_the_log_says_what_a_teacher_runs_in_once(monkeypatch):
    said = []
    monkeypatch.setattr(holding, 'print_log',
                        lambda text, **_: said.append(text))
    model = student_of('gfl')
    said.clear()
    for dtype in (None, None, torch.bfloat16, torch.bfloat16):
        with autocast(dtype):
            model.loss(*batch())
    assert [line.split('; ')[0] for line in said] == [
        'teacher: runs in float32', 'teacher: runs in bfloat16']


def test_the_log_names_the_type_of_a_head_that_has_another():
    assert precision.said(torch.float16, torch.float32) == (
        'runs in float16, its head in float32')
    assert precision.said(torch.float16, torch.float16) == 'runs in float16'


@pytest.mark.parametrize('where, body, head', [
    ('backbone', torch.float32, torch.bfloat16),
    ('bbox_head', torch.bfloat16, torch.float32),
    ('calls', torch.bfloat16, torch.float32)])
def test_mmcvs_own_ops_know_no_bfloat16(where, body, head, monkeypatch):
    model = distiller('gfl')
    teacher, part = model.teacher, torch.nn.Identity()
    if where == 'calls':
        monkeypatch.setattr(type(teacher.head), 'calls_mmcv_ops', True)
    else:
        monkeypatch.setattr(type(part), '__module__', 'mmcv.ops.carafe')
        getattr(teacher.detector, where).add_module('own', part)
    with torch.autocast('cpu', torch.bfloat16):
        seen = teacher(*batch())
    assert seen.given[0].dtype == head  # what the head is given
    assert next(teacher.detector.backbone.parameters()).dtype == body
    assert next(teacher.head.head.parameters()).dtype == head
    assert total(model.loss(*batch()))['loss_cls_kd'] > 0



@AUTOCAST
def test_what_comes_later_is_no_wider_and_no_other_than_autocasts(dtype):
    model = student_of('gfl')
    model.loss(*batch())
    assert held(model) == (torch.float32, ) * 2
    with autocast(dtype):
        model.loss(*batch())
    assert held(model) == (dtype, ) * 2
    if dtype == torch.bfloat16 or has_float16_convolutions():
        model.loss(*batch())
        assert held(model) == (dtype, ) * 2


def test_a_student_in_float64_has_a_teacher_in_float64():
    model = student_of('gfl').double()
    inputs, samples = batch()
    for enabled in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            model.teacher(inputs.double(), samples)
        assert held(model) == (torch.float64, ) * 2


@pytest.mark.parametrize('dtype', ['bfloat16', pytest.param(
    'float16', marks=needs_float16)])
@pytest.mark.parametrize('kind', KINDS)
def test_a_teacher_in_half_precision_teaches_almost_the_same(kind, dtype):
    exact, half = (total(student_of(kind, which).loss(*batch()))
                   for which in ('float32', dtype))
    assert half != exact
    assert half == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize('dtype', ['bfloat16', pytest.param(
    'float16', marks=needs_float16)])
def test_what_the_teacher_returns_is_in_its_type(dtype):
    model = student_of('retina', dtype)
    inputs, samples = batch()
    seen = model.teacher(inputs, samples, every_output(model, True))
    head = held(model)[1]
    for x in [*seen.given, *sum(seen.outputs.values(), []),
              *sum(seen.intermediates.values(), [])]:
        assert x.dtype == head
    model = student_of('retina', dtype, loss_feat_kd=dict(type='PKDLoss'))
    seen = model.teacher(inputs, samples, Needs.of({'features'}))
    assert {x.dtype for x in seen.features['features']} == {
        getattr(torch, dtype)}


class Casts(TorchDispatchMode):
    """What is cast to another floating type, and to which."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and (
                out.dtype != args[0].dtype):
            self.seen.append((args[0], out.dtype))
        return out


@AUTOCAST
@pytest.mark.parametrize('kind', KINDS)
def test_under_autocast_the_input_is_cast_once_and_nothing_else(kind, dtype):
    model = student_of(kind)
    inputs, samples = batch()
    with autocast(dtype):
        model.loss(inputs, samples)
        with Casts() as casts:
            seen = model.teacher(inputs, samples)
    (cast, to), *rest = casts.seen
    assert cast is inputs and to == dtype
    # mmdet's own heads return their box distances in float32
    in_float32 = [x for maps in seen.outputs.values() for x in maps
                  if x.dtype != dtype]
    assert [to for _, to in rest] == [torch.float32] * len(in_float32)
    assert len(in_float32) == (
        3 if hasattr(model.bbox_head, 'scales') else 0)


@AUTOCAST
@pytest.mark.parametrize('kind', KINDS)
def test_under_autocast_no_weight_of_the_teacher_is_cast(kind, dtype):
    model = student_of(kind)
    inputs, samples = batch()
    with autocast(dtype):
        model.loss(inputs, samples)
    with autocast(dtype), Casts() as casts:  # whose cache is empty again
        model.loss(inputs, samples)
    # those of the student are
    weight = model.bbox_head.cls_convs[0].conv.weight
    cast = {x.data_ptr() for x, _ in casts.seen}
    assert weight.data_ptr() in cast
    weights = [*model.teacher.detector.parameters(),
               *model.teacher.detector.buffers()]
    assert cast.isdisjoint(x.data_ptr() for x in weights)


@needs_float16
@pytest.mark.parametrize('kind', KINDS)
def test_small_gradients_through_a_float16_teacher_are_not_lost(kind):
    """As many objects and images make them, without a scaled loss."""
    model = student_of(kind, 'float16')
    found = []
    for scale in (1.0, 1e-4):
        losses = model.loss(*batch())
        value = sum(sum(losses[key]) for key in losses if key.endswith('_kd'))
        model.zero_grad()
        (value * scale).backward()
        found.append(torch.cat([p.grad.flatten() / scale
                                for p in model.parameters()
                                if p.grad is not None]))
    exact, small = found
    assert (small - exact).norm() < 1e-3 * exact.norm()


def test_a_copy_shares_a_teacher_in_half_precision():
    model = student_of('gfl', 'bfloat16')
    ours = total(model.loss(*batch()))
    clone = copy.deepcopy(model)
    assert clone.teacher.detector is model.teacher.detector
    assert total(clone.loss(*batch())) == ours
    assert held(clone) == held(model) == (torch.bfloat16, ) * 2


def test_nothing_of_the_type_is_in_the_checkpoint():
    model = student_of('gfl', 'bfloat16')
    before = {k: v.dtype for k, v in build(
        plain_cfg('gfl')).state_dict().items()}
    model.loss(*batch())
    assert {k: v.dtype for k, v in model.state_dict().items()} == before


@pytest.mark.parametrize('dtype', ['bfloat16', pytest.param(
    'float16', marks=needs_float16)])
def test_the_trial_runs_the_teacher_in_its_type(dtype):
    model = student_of('gfl', dtype)
    try_pair(model)
    assert held(model)[0] == getattr(torch, dtype)
    check_finite(model.loss(*batch()))


def test_emulated_convolutions_are_those_of_bfloat16(monkeypatch):
    """What tests/lib/teacher_types.py trains with."""
    native = torch.nn.functional.conv2d
    monkeypatch.setattr(torch.nn.functional, 'conv2d', native)
    from emulated_bfloat16 import conv2d as emulated
    x, weight, bias = (numbers(*shape, seed=i) for i, shape in enumerate(
        [(2, 16, 12, 12), (8, 16, 3, 3), (8, )]))
    found = []
    for conv2d in (emulated, native):
        given = [t.bfloat16().requires_grad_() for t in (x, weight, bias)]
        out = conv2d(*given, padding=1)
        assert out.dtype == torch.bfloat16
        out.float().square().sum().backward()
        found.append([out, *(t.grad for t in given)])
    for ours, theirs in zip(*found):
        assert ours.dtype == theirs.dtype
        error = (ours.float() - theirs.float()).norm() / theirs.norm()
        assert error < 2**-7  # each rounds by up to half of that
