"""The SDD detector, and SDD inside CrossKD."""
import copy

import pytest
import torch
from helpers import (
    GIOU,
    KINDS,
    QFL,
    SDD,
    batch,
    build,
    distiller_cfg,
    kd_cfg,
    paired_maps,
    plain_cfg,
    sdd_cfg,
    total,
)
from mmengine.logging import MMLogger
from oracle_sdd import inside, oracle_sdd
from torch.nn.functional import adaptive_avg_pool2d

from crosskd.heads import adapter_of
from crosskd.losses.sdd_bases import BASES
from crosskd.registry import REGIONS

pytestmark = pytest.mark.torch_only

SIZE = (128, 160)  # every level has room for 4 × 4 cells


def by_hand(model, inputs, samples, kind, weighted=False, **kwargs):
    """The oracle's loss on one kind of region, from that of every level."""
    teacher = model.teacher.detector
    with torch.no_grad():
        s = model.bbox_head(model.extract_feat(inputs))[0]
        t = teacher.bbox_head(teacher.extract_feat(inputs))[0]
    value = count = 0.0
    head = adapter_of(teacher.bbox_head)
    paired = paired_maps(head, s, t, samples)
    for maps in REGIONS.module_dict[kind](paired, 'student'):
        if len(maps.teacher) > 0:
            weight = maps.confidence.double() if weighted else None
            mask = maps.extents and inside(
                maps.teacher, [e for e in maps.extents
                               for _ in range(head.num_priors)])
            loss = oracle_sdd(
                maps.student.double(), maps.teacher.double(), maps.labels,
                mask=mask, weight=weight, **kwargs)
            # every map has as many cells, so their weights' means will do
            share = len(maps.teacher) * float(
                adaptive_avg_pool2d(weight, 4).mean() if weighted else 1)
            value, count = value + share * loss, count + share
    return value / count


@pytest.mark.parametrize('base', BASES)
@pytest.mark.parametrize('kind', KINDS)
def test_losses_are_those_of_the_oracle(kind, base):
    model = build(sdd_cfg(kind, loss=dict(base=base, temperature=2.0)))
    inputs, samples = batch((2, 3), SIZE)
    ours = total(model.loss(inputs, samples))
    for region in ('map', 'box'):
        assert ours[f'loss_sdd_{region}'] == pytest.approx(
            by_hand(model, inputs, samples, region, base=base,
                    temperature=2.0), rel=1e-4)


def test_cells_count_by_the_teachers_confidence():
    model = build(sdd_cfg('gfl', sdd_weighting='confidence'))
    # as if trained: with equal scores everywhere weights change nothing
    model.teacher.detector.bbox_head.gfl_cls.weight.data *= 100
    inputs, samples = batch((2, 3), SIZE)
    ours = total(model.loss(inputs, samples))
    unweighted = by_hand(model, inputs, samples, 'map', base='bernoulli',
                         temperature=1.0)
    weighted = by_hand(model, inputs, samples, 'map', base='bernoulli',
                       temperature=1.0, weighted=True)
    assert ours['loss_sdd_map'] == pytest.approx(weighted, rel=1e-4)
    assert ours['loss_sdd_map'] != pytest.approx(unweighted, rel=1e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_the_rest_is_the_plain_detector(kind):
    model = build(sdd_cfg(kind))
    plain = build(plain_cfg(kind))
    plain.load_state_dict(model.state_dict())  # the same keys
    inputs, samples = batch((2, 0), SIZE)
    ours, theirs = model.loss(inputs, samples), plain.loss(inputs, samples)
    assert set(ours) - set(theirs) == {'loss_sdd_map', 'loss_sdd_box'}
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value)
    model.eval()
    plain.eval()
    for a, b in zip(model.predict(inputs, copy.deepcopy(samples)),
                    plain.predict(inputs, copy.deepcopy(samples))):
        assert torch.equal(a.pred_instances.scores, b.pred_instances.scores)


@pytest.mark.parametrize('kind', KINDS)
def test_a_student_that_is_the_teacher_has_nothing_to_learn(kind):
    model = build(sdd_cfg(kind, teacher_width=8))
    model.load_state_dict(model.teacher.detector.state_dict())
    model.eval()
    losses = total(model.loss(*batch((2, 3), SIZE)))
    assert losses['loss_sdd_map'] == pytest.approx(0, abs=1e-6)
    assert losses['loss_sdd_box'] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_other_losses_stand_beside_it(kind):
    kd = kd_cfg(kind, reused_teacher_head_idx=None)
    model = build(sdd_cfg(kind, **kd))
    plain = build(distiller_cfg(kind, prediction='student'))
    both, imitation = model.loss(*batch()), plain.loss(*batch())
    for key in kd:
        torch.testing.assert_close(both[key], imitation[key])


# -- inside CrossKD ---------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_inside_crosskd_it_reads_cross_head_logits(kind):
    cfg = distiller_cfg(kind, loss_sdd=SDD)
    model = build(cfg)
    losses = model.loss(*batch((2, 3), SIZE))
    alone = build(distiller_cfg(kind)).loss(*batch((2, 3), SIZE))
    assert set(losses) - set(alone) == {'loss_sdd_map', 'loss_sdd_box'}
    for key, value in alone.items():
        torch.testing.assert_close(losses[key], value)
    value = sum(losses['loss_sdd_map']) + sum(losses['loss_sdd_box'])
    tower = model.bbox_head.cls_convs
    kept, rest = torch.autograd.grad(
        value, [tower[0].conv.weight, tower[1].conv.weight],
        allow_unused=True)
    assert kept.abs().max() > 0 and rest is None  # the split is after layer 1
    own = build(sdd_cfg(kind)).loss(*batch((2, 3), SIZE))
    assert total(own)['loss_sdd_map'] != pytest.approx(
        total(losses)['loss_sdd_map'], rel=1e-3)


@pytest.mark.parametrize('student, teacher', [('gfl', 'retina'),
                                              ('retina', 'fcos'),
                                              ('fcos', 'gfl')])
def test_any_teacher_inside_crosskd(student, teacher):
    model = build(
        distiller_cfg(student, teacher_kind=teacher, loss_center_kd=None,
                      loss_reg_kd=GIOU, loss_sdd=SDD))
    value, log = model.parse_losses(model.loss(*batch((2, 3), SIZE)))
    value.backward()
    assert 0 < log['loss_sdd_map'] < 1e3 and 0 < log['loss_sdd_box'] < 1e3


# -- edges --------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('boxes, size', [((0, 0), SIZE), ((1, ), (32, 32)),
                                         ((0, ), (32, 32)),
                                         ((3, 0, 1), (64, 64))])
def test_empty_images_and_tiny_levels(kind, boxes, size):
    model = build(sdd_cfg(kind))
    model.init_weights()
    model.eval()  # the backbone's batch norm needs more than one value
    losses = model.loss(*batch(boxes, size))
    value, log = model.parse_losses(losses)
    value.backward()
    assert all(v.isfinite() for v in log.values())
    assert all(p.grad is None or p.grad.isfinite().all()
               for p in model.parameters())
    assert log['loss_sdd_map'] > 0
    assert (log['loss_sdd_box'] > 0) == (sum(boxes) > 0)


def test_levels_without_room_for_a_scale_do_without_it(caplog):
    inputs, samples = batch((2, 3), (64, 96))  # 8 × 12, 4 × 6 and 2 × 3
    for scales, levels in (((1, 2, 4), 3), ((4, ), 2), ((8, ), 1)):
        model = build(sdd_cfg('gfl', loss=dict(scales=scales)))
        losses = model.loss(inputs, samples)
        assert sum(x > 0 for x in losses['loss_sdd_map']) == levels
        assert total(losses)['loss_sdd_box'] > 0
    model = build(sdd_cfg('gfl', loss=dict(scales=(16, )),
                          sdd_regions=dict(map=dict())))
    MMLogger.get_current_instance().addHandler(caplog.handler)
    for _ in range(2):
        value = sum(model.loss(inputs, samples)['loss_sdd_map'])
        assert value == 0  # a batch of small images is no error
        value.backward()
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    message = 'scale 16 is left out, because it is finer than every map region'
    assert sum(message in said for said in caplog.messages) == 1


def test_a_region_may_differ_from_the_others():
    inputs, samples = batch((2, 3), SIZE)
    one = total(build(sdd_cfg('gfl')).loss(inputs, samples))
    box = dict(base='bernoulli', loss_weight=0.5)
    model = build(sdd_cfg('gfl', loss=dict(base='kd', loss_weight=2.0),
                          sdd_regions=dict(map=None, box=box)))
    losses = total(model.loss(inputs, samples))
    assert 'loss_sdd_map' not in losses  # as a config drops its base's
    assert losses['loss_sdd_box'] == pytest.approx(
        0.5 * one['loss_sdd_box'])


def test_autocast_stays_close_to_float32():
    model = build(sdd_cfg('gfl'))
    inputs, samples = batch((2, 3), SIZE)
    exact = total(model.loss(inputs, samples))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(inputs, samples)
    for key in ('loss_sdd_map', 'loss_sdd_box'):
        assert losses[key][0].dtype == torch.float32
        assert total(losses)[key] == pytest.approx(exact[key], rel=0.1)


@pytest.mark.parametrize('change, error, words', [
    (dict(loss_sdd=None), ValueError, 'kd_cfg: loss_sdd is missing'),
    (dict(loss_sdd=QFL), TypeError,
     'kd_cfg.loss_sdd: expected .* such as SDDLoss; found'),
    (dict(loss_sdd=dict(SDD, base='softmax')), ValueError,
     "kd_cfg.loss_sdd: .*base must be one of .*found 'softmax'"),
    (dict(loss_sdd=dict(SDD, scales=(0, ))), ValueError,
     'kd_cfg.loss_sdd: .*scales must be'),
    (dict(loss_sdd=dict(SDD, temperature=0)), ValueError,
     'kd_cfg.loss_sdd: .*temperature'),
    (dict(loss_sdd=dict(SDD, scale=1)), TypeError,
     "kd_cfg.loss_sdd: .*'scale'"),
    (dict(sdd_regions=dict(maps={})), ValueError,
     "kd_cfg.sdd_regions: unknown key 'maps', .*did you mean 'map'"),
    (dict(loss_sdd=dict(SDD, scales=(1, 16))), ValueError,
     'kd_cfg.loss_sdd: scales: 16 does not fit box regions, .* 8×8 points'),
    (dict(sdd_regions=dict(map=1.0)), TypeError,
     'kd_cfg.sdd_regions.map must be a dict of changes .*found 1.0'),
    (dict(sdd_regions=dict(map=dict(loss_weight=-1))), ValueError,
     'kd_cfg.sdd_regions.map: SDDLoss: loss_weight'),
    (dict(sdd_regions='map'), TypeError, 'kd_cfg.sdd_regions must be a dict'),
    (dict(sdd_regions={}), TypeError, 'kd_cfg.sdd_regions must be a dict'),
    (dict(sdd_regions=dict(map=None)), TypeError, 'kd_cfg.sdd_regions must'),
    (dict(sdd_weighting='some'), ValueError, 'kd_cfg.sdd_weighting must be'),
    (dict(prediction='cross_head'), TypeError,
     'reused_teacher_head_idx must be an integer'),
])
def test_bad_kd_cfg_is_an_error_when_built(change, error, words):
    cfg = sdd_cfg('gfl')
    cfg['kd_cfg'].update(change)
    with pytest.raises(error, match=words):
        build(cfg)


def test_keys_of_sdd_need_its_loss():
    cfg = distiller_cfg('gfl', sdd_regions=dict(map=dict()))
    with pytest.raises(ValueError, match='kd_cfg.sdd_regions needs '
                       'kd_cfg.loss_sdd'):
        build(cfg)


def test_a_softmax_base_needs_two_classes():
    for base, fine in (('kd', False), ('qfl', True)):
        cfg = sdd_cfg('gfl', loss=dict(base=base))
        for model in (cfg, cfg['teacher_config']['model']):
            model['bbox_head']['num_classes'] = 1
        if fine:
            build(cfg)
        else:
            with pytest.raises(ValueError, match="kd_cfg.loss_sdd: base 'kd' "
                               'compares classes'):
                build(cfg)

