"""Detectors of other kinds than those of heads with adapters, by features."""
import copy

import pytest
import torch
from any_detectors import (
    KINDS,
    PKD,
    WIDE,
    distilled,
    inputs,
    of_kind,
    plain,
)
from helpers import build, plain_cfg, seeded, total
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from torch import nn

from crosskd.compat.mmcv_ext import is_installed
from crosskd.engine.trial import try_pair

BODY = ('backbone', 'neck')


def built(cfg):
    model = build(cfg)
    model.init_weights()
    return model.train()


def test_a_random_teacher_has_no_weights_that_are_anything():
    teacher = build(of_kind('dino')).teacher.detector
    own = dict(teacher.named_parameters(recurse=False))
    assert own
    assert all(0.5 < float(x.std()) < 2 for x in own.values())


def step(model):
    """Losses of a batch, of one seed."""
    return seeded(model, **inputs(model), mode='loss')


def with_dense_head(kind, width):
    """A plain detector whose head has an adapter, as wide and with as many
    classes as the others here."""
    cfg = plain_cfg(kind, width, num_classes=5)
    cfg['neck']['out_channels'] = width
    cfg['bbox_head'].update(in_channels=width, feat_channels=width)
    return cfg


PAIRS = dict(
    **{kind: lambda kind=kind: of_kind(kind) for kind in KINDS},
    gfl_faster=lambda: distilled(plain('faster'), with_dense_head('gfl', 16)),
    faster_retina=lambda: distilled(
        with_dense_head('retina', 8), plain('faster', WIDE)),
    dino_ssd=lambda: distilled(plain('ssd'), plain('dino', WIDE)),
    itself=lambda: distilled(plain('faster'), plain('faster')))


# -- a step ------------------------------------------------------------------


@pytest.mark.parametrize('name', PAIRS)
def test_a_step_by_features(name):
    cfg = PAIRS[name]()
    model = built(cfg)
    student = copy.deepcopy({k: v for k, v in cfg.items() if k not in (
        'teacher_config', 'teacher_ckpt', 'kd_cfg', 'detector')})
    alone = build(dict(student, type=cfg['detector'])).train()
    # the plain detector's keys, and no other
    alone.load_state_dict(model.state_dict(), strict=True)

    heads = [part for key, part in model.teacher.detector.named_children()
             if key not in (*BODY, 'data_preprocessor')]
    ran = []
    for part in heads:
        for module in part.modules():
            module.register_forward_hook(lambda *_: ran.append(1))
    losses, expected = step(model), step(alone)
    assert heads and not ran
    ours = total(losses)
    assert ours.pop('loss_feat_kd') > 0
    assert ours == total(expected)

    model.parse_losses(losses)[0].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters()
               if p.grad is not None)
    assert all(p.grad is None for p in model.teacher.detector.parameters())
    assert all(p.grad.any() for p in model.pair.adapters.parameters())


@pytest.mark.parametrize('name', PAIRS)
def test_features_alone_reach_backbone_and_neck(name):
    model = built(PAIRS[name]())
    sum(step(model)['loss_feat_kd']).backward()
    for part in BODY:
        assert any(p.grad is not None and p.grad.any()
                   for p in getattr(model, part).parameters()), part
    assert all(p.grad is None or not p.grad.any()
               for key, p in model.named_parameters()
               if key.split('.')[0] not in (*BODY, 'pair'))


@pytest.mark.parametrize('kind', KINDS)
def test_eval_is_the_plain_detector_and_opens_no_teacher(kind):
    cfg = of_kind(kind)
    cfg.update(teacher_config='nowhere.py', teacher_ckpt='nowhere.pth')
    model = build(cfg, joins=False).eval()
    alone = build(plain(kind)).eval()
    alone.init_weights()  # DINO has weights that are anything before
    assert model.state_dict().keys() == alone.state_dict().keys()
    model.load_state_dict(alone.state_dict())
    with torch.no_grad():
        ours, theirs = (
            [sample.pred_instances for sample in one(
                **inputs(one, False), mode='predict')]
            for one in (model, alone))
    assert not model.teacher.is_read
    assert sum(map(len, ours)) > 0
    for a, b in zip(ours, theirs):
        assert a.keys() == b.keys()
        for key in a.keys():
            assert torch.equal(torch.as_tensor(a[key]),
                               torch.as_tensor(b[key])), key


@pytest.mark.parametrize('kind', KINDS)
def test_a_step_under_autocast(kind):
    if kind in ('faster', 'mask') and not is_installed():
        pytest.skip("mmcv's compiled RoIAlign takes no bfloat16 on a CPU")
    model = built(of_kind(kind))
    with torch.autocast('cpu', torch.bfloat16):
        losses = step(model)
    assert all(x.isfinite().all() for value in losses.values()
               for x in (value if isinstance(value, list) else [value]))
    model.parse_losses(losses)[0].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters()
               if p.grad is not None)


@pytest.mark.parametrize('kind, tap, dtype', [
    *((kind, None, torch.bfloat16) for kind in KINDS),
    ('dino', 'encoder', torch.float32)])
def test_a_teacher_runs_in_float32_where_an_op_of_mmcvs_runs(kind, tap,
                                                             dtype):
    """Ops of parts that do not run, such as RoIAlign, do not count."""
    model = built(tapping(kind, tap, tap) if tap else of_kind(kind))
    batch = inputs(model)
    with torch.autocast('cpu', torch.bfloat16):
        model.teacher(batch['inputs'], batch['data_samples'])
    assert next(model.teacher.detector.parameters()).dtype == dtype


# -- taps --------------------------------------------------------------------

TAPS = dict(
    faster='backbone.layer3', mask='backbone.layer3', ssd='backbone.layer3',
    dino='encoder')


@pytest.mark.parametrize('kind', KINDS)
def test_a_tap_by_its_name(kind):
    tap = TAPS[kind]
    cfg = of_kind(kind)
    cfg['kd_cfg'] = dict(distillers=[dict(
        type='FeatureDistiller', loss_feat_kd=PKD, student=tap,
        teacher=tap)])
    model = built(cfg)
    assert len(model.pair.matched) == 1
    losses = step(model)
    assert total(losses)['loss_feat_kd'] > 0
    sum(losses['loss_feat_kd']).backward()
    first = next(model.backbone.parameters())
    assert first.grad is not None and first.grad.any()
    assert all(p.grad.any() for p in model.pair.adapters.parameters())


def tapping(kind, student=None, teacher=None):
    cfg = of_kind(kind)
    cfg['kd_cfg'] = dict(distillers=[dict(
        type='FeatureDistiller', loss_feat_kd=PKD, student=student,
        teacher=teacher)])
    return cfg


@pytest.mark.parametrize('kind, name, near', [
    ('faster', 'backbone.layr3', 'backbone.layer3'),
    ('mask', 'roi_head.mask_haed', 'roi_head.mask_head'),
    ('dino', 'encodr', 'encoder'), ('ssd', 'nek', 'neck')])
@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_a_misspelt_tap_is_an_error_with_the_near_name(kind, name, near,
                                                       side):
    key = 'teacher_config.model' if side == 'teacher' else 'model'
    with pytest.raises(ValueError, match=f'^{key}: .*{name}.*{near}'):
        build(tapping(kind, **{side: name}))


@pytest.mark.parametrize('kind, name', [
    # what a forward without losses and boxes leaves out, or never runs
    ('faster', 'roi_head.bbox_head.loss_cls'), ('dino', 'bbox_head.loss_cls'),
    ('mask', 'roi_head.mask_head.loss_mask'), ('ssd', 'data_preprocessor')])
def test_a_tap_that_does_not_run_is_an_error(kind, name):
    with pytest.raises(ValueError, match='^teacher_config.model: .*'
                       f'no feature maps at the {name}'):
        build(tapping(kind, teacher=name))


@pytest.mark.parametrize('kind, name', [
    ('faster', 'roi_head.bbox_roi_extractor'),
    ('mask', 'roi_head.bbox_roi_extractor.roi_layers.0')])
@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_maps_of_boxes_are_an_error(kind, name, side):
    key = 'teacher_config.model' if side == 'teacher' else 'model'
    with pytest.raises(ValueError, match=rf'^{key}: found \d+ feature '
                       f'maps at the {name} for 1 images'):
        build(tapping(kind, **{side: name}))


@MODELS.register_module()
class Branches(FPN):
    """Gives maps of three branches while it trains, as TridentNet's."""

    def forward(self, inputs):
        maps = super().forward(inputs)
        return [x.repeat(3, 1, 1, 1) for x in maps] if self.training else maps


def test_maps_of_branches_are_an_error():
    cfg = of_kind('faster')
    cfg['neck']['type'] = 'Branches'
    model = built(cfg)
    batch = inputs(model)
    with pytest.raises(ValueError, match='found 6 feature maps at the '
                       'neck for 2 images'):
        model.paired(batch['inputs'], batch['data_samples'], lambda: (
            model.extract_feat(batch['inputs'])))


def test_a_part_that_cannot_be_measured_names_its_side():
    cfg = of_kind('faster')
    cfg['teacher_config']['model']['neck']['in_channels'] = [1] * 4
    with pytest.raises(ValueError, match='^teacher_config.model: cannot '
                       'measure its features'):
        build(cfg)


@pytest.mark.parametrize('detector', [
    'KnowledgeDistillationSingleStageDetector', 'LAD', 'SoftTeacher'])
def test_a_detector_with_a_teacher_of_its_own_is_refused(detector):
    with pytest.raises(TypeError, match=f'model.detector: {detector} already '
                       'has a teacher of its own'):
        MODELS.build(dict(type='DistilledDetector', detector=detector))


@MODELS.register_module()
class ManyMaps(nn.Module):
    """A backbone with maps as a head wants them."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(3, channels, 4 * 2**i, 4 * 2**i) for i in range(5))

    def forward(self, x):
        return tuple(layer(x) for layer in self.layers)


def without_neck(kind, width):
    cfg = plain(kind, width)
    cfg.update(neck=None, backbone=dict(type='ManyMaps', channels=width))
    return cfg


@pytest.mark.parametrize('student, teacher', [
    (without_neck('faster', 8), plain('faster', WIDE)),
    (plain('faster'), without_neck('mask', WIDE))])
def test_without_a_neck_it_is_the_backbone(student, teacher):
    model = built(distilled(student, teacher))
    sides = model.plan.student, model.plan.teacher
    for cfg, taps in zip((student, teacher), sides):
        assert str(taps['features']) == (
            'neck' if cfg['neck'] else 'backbone')
    assert total(step(model))['loss_feat_kd'] > 0


# -- before training ---------------------------------------------------------


@pytest.mark.parametrize('name', PAIRS)
def test_the_trial_passes_and_leaves_nothing(name):
    model = built(PAIRS[name]())
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    try_pair(model)
    assert torch.equal(state, torch.get_rng_state())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('kind, part', [
    ('faster', 'rpn_head'), ('faster', 'roi_head.bbox_head'),
    ('mask', 'roi_head.mask_head'), ('dino', 'encoder'),
    ('dino', 'bbox_head'), ('ssd', 'bbox_head'), ('ssd', 'neck')])
def test_the_trial_names_the_part_that_fails(kind, part):
    model = built(of_kind(kind))

    def fail(self, *args, **kwargs):
        raise RuntimeError('I take none')

    module = model.get_submodule(part)
    module.forward = fail.__get__(module)
    with pytest.raises(ValueError, match=rf'^model\.{part}: cannot take a '
                       'batch of .*I take none'):
        try_pair(model)
