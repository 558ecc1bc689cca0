"""The detectors: what a training step is, and what it leaves alone."""
import copy

import pytest
import torch
from families import FAMILY, quick_cases
from helpers import (
    BCE,
    FAMILIES,
    GIOU,
    KINDS,
    KL,
    QFL,
    batch,
    build,
    distiller_cfg,
    kd_cfg,
    plain_cfg,
    runs_of,
    total,
)
from mmdet.registry import MODELS
from oracle_crosskd import crosskd_losses

from crosskd.apps.recipes.choosing import recipe_of
from crosskd.distillers import Distiller
from crosskd.engine.trial import try_pair
from crosskd.heads import adapter_of, record
from crosskd.registry import DISTILLERS
from crosskd.taps import Needs


def same_student(kind, **kwargs):
    """A distiller and a plain detector with the same weights."""
    model = build(distiller_cfg(kind, **kwargs))
    plain = build(plain_cfg(kind))
    plain.load_state_dict(model.state_dict())
    return model, plain


# -- invariants ---------------------------------------------------------------


@pytest.mark.parametrize('kind', FAMILIES)
def test_detection_losses_are_the_plain_detectors(kind):
    model, plain = same_student(kind)
    ours, theirs = model.loss(*batch()), plain.loss(*batch())
    assert set(ours) - set(theirs) == {
        k for k in kd_cfg(kind) if k.startswith('loss')}
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value)


@pytest.mark.parametrize('kind', FAMILIES)
def test_eval_is_the_plain_detector(kind):
    model, plain = same_student(kind)
    inputs, samples = batch()
    for train in (True, False):  # and predicting needs no eval()
        model.train(train)
        plain.train(train)
        with torch.no_grad():
            ours = model.predict(inputs, copy.deepcopy(samples))
            theirs = plain.predict(inputs, copy.deepcopy(samples))
            raw = zip(model(inputs), plain(inputs))
        for a, b in zip(ours, theirs):
            assert len(a.pred_instances) > 0
            for key in ('bboxes', 'scores', 'labels'):
                assert torch.equal(a.pred_instances[key],
                                   b.pred_instances[key])
        if not train:
            assert all(torch.equal(x, y) for a, b in raw
                       for x, y in zip(a, b))


@pytest.mark.parametrize('kind', FAMILIES)
def test_targets_are_assigned_once_a_step(kind):
    model = build(distiller_cfg(kind))
    head, name = type(model.bbox_head), model.head_adapter.target_methods[0]
    calls, original = [], getattr(head, name)
    model.bbox_head.__class__ = type('Counting', (head, ), {
        name: lambda self, *a, **k: calls.append(1) or original(
            self, *a, **k)})
    model.loss(*batch())
    assert len(calls) == (2 if FAMILY[kind].assigns_by_image else 1)


@pytest.mark.parametrize('split', [0, 1, 2])
@pytest.mark.parametrize('kind', KINDS)
def test_losses_are_those_of_the_oracle(kind, split):
    loss = dict(recipe_of(kind)['loss_reg_kd'], loss_weight=1.0)
    model = build(
        distiller_cfg(kind, reused_teacher_head_idx=split, loss_reg_kd=loss))
    model.init_weights()
    inputs, samples = batch((2, 0), size=(32, 64))
    ours = total(model.loss(inputs, samples))
    teacher, adapter = model.teacher.detector, adapter_of(model.bbox_head)
    with torch.no_grad(), record(adapter) as seen:
        s_features = model.extract_feat(inputs)
        model.bbox_head.loss(s_features, samples)
        targets = adapter.targets(seen, len(samples))
        expected = crosskd_losses(
            kind, model.bbox_head, teacher.bbox_head, s_features,
            teacher.extract_feat(inputs), split, targets.weights['cls'],
            [adapter.is_class(labels) for labels in targets.labels['cls']],
            float(targets.normalizers['cls']))
    for key, value in expected.items():
        assert ours[key] == pytest.approx(float(value), rel=1e-4), key


@pytest.mark.parametrize('split', [0, 1, 2])
@pytest.mark.parametrize('kind', FAMILIES)
def test_a_student_that_is_the_teacher_has_nothing_to_learn(kind, split):
    if split and not FAMILY[kind].split:
        pytest.skip('such heads are split before their layers')
    model = build(distiller_cfg(
        kind, teacher_width=8, reused_teacher_head_idx=split))
    model.load_state_dict(model.teacher.detector.state_dict())
    model.eval()  # the same batch statistics as the teacher
    model.bbox_head.training = True  # VFNet returns less without
    losses = total(model.loss(*batch()))
    # the 1e-6 in the denominator of the alignment keeps it from exactly zero
    assert losses['loss_reg_kd'] == pytest.approx(0, abs=1e-3)
    assert losses['loss_cls_kd'] == pytest.approx(0, abs=1e-3)


# -- plain imitation, regions, losses ----------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_plain_imitation_reads_the_students_predictions(kind):
    model = build(
        distiller_cfg(kind, prediction='student',
                      reused_teacher_head_idx=None))
    model.loss(*batch())
    seen = []
    teacher = model.teacher.detector.bbox_head
    teacher.cls_convs[1].register_forward_hook(lambda *a: seen.append(1))
    losses = model.loss(*batch())
    assert len(seen) == 3  # the teacher's own pass, one call a level
    (g, ) = torch.autograd.grad(
        sum(losses['loss_cls_kd']), [model.bbox_head.cls_convs[1].conv.weight])
    assert g.abs().max() > 0  # after the split cross-head has no gradient
    cross = build(distiller_cfg(kind))
    (g, ) = torch.autograd.grad(
        sum(cross.loss(*batch())['loss_cls_kd']),
        [cross.bbox_head.cls_convs[1].conv.weight], allow_unused=True)
    assert g is None


@pytest.mark.parametrize('prediction', ['student', 'cross_head'])
@pytest.mark.parametrize('kind', KINDS)
def test_regions_weigh_locations(kind, prediction):
    losses = {}
    for region in ('all', 'positives', 'confidence'):
        model = build(
            distiller_cfg(kind, prediction=prediction, region=region))
        losses[region] = total(model.loss(*batch()))
    cls = {r: v['loss_cls_kd'] for r, v in losses.items()}
    assert 0 < cls['positives'] < cls['all']
    assert 0 < cls['confidence'] < cls['all']
    reg = {r: v['loss_reg_kd'] for r, v in losses.items()}
    assert reg['confidence'] == pytest.approx(reg['all'])
    assert reg['positives'] != pytest.approx(reg['all'])
    _, empty = batch((0, 0))
    model = build(
        distiller_cfg(kind, prediction=prediction, region='positives'))
    assert total(model.loss(batch()[0], empty))['loss_cls_kd'] == 0


@pytest.mark.parametrize('loss', [
    GIOU, dict(type='IoULoss'), dict(type='DIoULoss'), dict(type='EIoULoss'),
    dict(type='L1Loss'), dict(type='SmoothL1Loss', beta=0.1)])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('prediction', quick_cases(
    ['cross_head'], ['student', 'cross_head']))
def test_every_regression_loss_on_every_head(kind, loss, prediction):
    model = build(
        distiller_cfg(kind, loss_reg_kd=loss, prediction=prediction))
    losses = model.loss(*batch())
    value, _ = model.parse_losses(losses)
    value.backward()
    assert 0 < total(losses)['loss_reg_kd'] < 1e6
    weight = model.bbox_head.reg_convs[0].conv.weight
    assert weight.grad.isfinite().all() and weight.grad.abs().max() > 0


def test_ld_style_kl_and_feature_imitation():
    ld = dict(type='KnowledgeDistillationKLDivLoss', T=10, loss_weight=0.25)
    pkd = dict(type='PKDLoss', loss_weight=6.0)
    model = build(distiller_cfg('gfl', loss_reg_kd=ld, loss_feat_kd=pkd))
    losses = model.loss(*batch())
    assert len(losses['loss_feat_kd']) == 3
    assert total(losses)['loss_feat_kd'] > 0
    zero = build(distiller_cfg('gfl', loss_feat_kd=dict(pkd, loss_weight=0)))
    assert total(zero.loss(*batch()))['loss_feat_kd'] == 0


def test_quality_loss_is_optional_and_works_on_fcos():
    model = build(distiller_cfg('atss', loss_center_kd=None))
    assert 'loss_center_kd' not in model.loss(*batch())
    model = build(distiller_cfg('fcos', loss_center_kd=BCE))
    assert total(model.loss(*batch()))['loss_center_kd'] > 0


# -- other pairs --------------------------------------------------------------

CROSS_FAMILY = [(s, t) for s in KINDS for t in KINDS if s != t]


@pytest.mark.parametrize('student, teacher', CROSS_FAMILY)
def test_any_teacher_teaches_any_student(student, teacher):
    cfg = distiller_cfg(
        student, teacher_kind=teacher, loss_center_kd=None,
        loss_reg_kd=KL if teacher == 'gfl' else GIOU)
    model = build(cfg)
    losses = model.loss(*batch())
    value, _ = model.parse_losses(losses)
    value.backward()
    assert value.isfinite()
    assert total(losses)['loss_reg_kd'] > 0
    assert model.bbox_head.cls_convs[0].conv.weight.grad.abs().max() > 0


def test_losses_of_more_priors_a_location_are_divided_by_the_ratio():
    seen = []
    for student, teacher in (('gfl', 'retina'), ('retina', 'gfl')):
        model = build(distiller_cfg(
            student, teacher_kind=teacher, loss_reg_kd=GIOU))
        model.distillers.register_forward_pre_hook(
            lambda _, args: seen.append(args[0]))
        model.loss(*batch())
        targets = seen[-1]._targets.normalizers
        more = 4 if teacher == 'retina' else 1
        for term in ('cls', 'reg', 'quality'):
            assert seen[-1].normalizer(term) == pytest.approx(
                more * targets.get(term, targets['cls']))


def test_quality_of_a_teacher_with_other_priors():
    for student in ('retina', 'gfl'):
        for teacher in ('atss', 'fcos'):
            model = build(
                distiller_cfg(student, teacher_kind=teacher,
                              loss_reg_kd=GIOU, loss_center_kd=BCE))
            assert total(model.loss(*batch()))['loss_center_kd'] > 0


def test_single_stage_detector_finds_the_family_itself():
    cfg = distiller_cfg('atss')
    named = total(build(cfg).loss(*batch()))
    cfg['type'] = 'CrossKDSingleStageDetector'
    assert total(build(cfg).loss(*batch())) == named


# -- edges --------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('boxes, size', [((0, 0), (64, 96)),
                                         ((1, ), (32, 32)),
                                         ((0, ), (32, 32)),
                                         ((3, 0, 1), (64, 64))])
def test_empty_images_and_tiny_levels_are_finite(kind, boxes, size):
    model = build(distiller_cfg(kind))
    model.init_weights()
    model.eval()  # the backbone's batch norm needs more than one value
    value, log = model.parse_losses(model.loss(*batch(boxes, size)))
    value.backward()
    assert all(v.isfinite() for v in log.values())
    assert all(p.grad is None or p.grad.isfinite().all()
               for p in model.parameters())


@pytest.mark.parametrize('kind', KINDS)
def test_autocast_stays_close_to_float32(kind):
    model = build(distiller_cfg(kind))
    model.init_weights()
    exact = total(model.loss(*batch()))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(*batch())
    for key, value in total(losses).items():
        if key.endswith('_kd'):
            assert value == pytest.approx(exact[key], rel=0.1)
            assert losses[key][0].dtype == torch.float32


@MODELS.register_module()
class TakesNoReduction(torch.nn.Module):
    """A loss of somebody else."""
    compares = ('logits', )

    def forward(self, pred, target):
        return (pred - target).abs().sum(1)


@MODELS.register_module()
class ReducesAnyway(TakesNoReduction):

    def forward(self, pred, target, reduction_override=None):
        return super().forward(pred, target).sum()


def test_a_loss_that_reduces_is_named_before_training():
    model = build(distiller_cfg('gfl', loss_cls_kd=dict(
        type='ReducesAnyway')))
    with pytest.raises(ValueError, match='ReducesAnyway must return a loss '
                       'for each of'):
        try_pair(model)


# -- bad kd_cfg ---------------------------------------------------------------


@pytest.mark.parametrize('kind, change, error, words', [
    ('gfl', dict(reused_teacher_head_idx=-1), ValueError,
     'reused_teacher_head_idx must be between 0 .*2 in the student.*found -1'),
    ('gfl', dict(reused_teacher_head_idx=3), ValueError, 'found 3'),
    ('gfl', dict(reused_teacher_head_idx=1.5), TypeError, 'found 1.5'),
    ('gfl', dict(reused_teacher_head_idx=True), TypeError, 'found True'),
    ('gfl', dict(reused_teacher_head_idx=None), TypeError, 'found None'),
    ('gfl', dict(loss_cls_kd=None), ValueError, 'loss_cls_kd is missing'),
    ('gfl', dict(loss_reg_kd=None), ValueError, 'loss_reg_kd is missing'),
    ('gfl', dict(los_cls_kd=QFL), ValueError, "did you mean 'loss_cls_kd'"),
    ('gfl', dict(loss_cls_kd='QFL'), TypeError, "with a 'type', found 'QFL'"),
    ('gfl', dict(loss_cls_kd=dict(type='NoLoss')), ValueError,
     'kd_cfg.loss_cls_kd: .*NoLoss'),
    ('gfl', dict(loss_cls_kd=dict(QFL, betta=1)), TypeError,
     'kd_cfg.loss_cls_kd: .*betta'),
    ('gfl', dict(loss_reg_kd=dict(KL, T=0)), ValueError,
     'kd_cfg.loss_reg_kd: .*T must'),
    ('gfl', dict(loss_reg_kd=QFL), TypeError,
     'kd_cfg.loss_reg_kd: expected a loss that compares boxes .*GIoULoss.*'
     'found KDQualityFocalLoss, which compares logits'),
    ('gfl', dict(loss_cls_kd=GIOU), TypeError, 'kd_cfg.loss_cls_kd: expected'),
    ('gfl', dict(loss_feat_kd=GIOU), TypeError, 'kd_cfg.loss_feat_kd'),
    ('gfl', dict(loss_cls_kd=dict(QFL, reduction='sum')), ValueError,
     "kd_cfg.loss_cls_kd: reduction must be 'mean', found 'sum'"),
    ('atss', dict(loss_center_kd=dict(type='CrossEntropyLoss')), ValueError,
     'kd_cfg.loss_center_kd: use_sigmoid must be True'),
    ('gfl', dict(loss_center_kd=BCE), ValueError,
     'no quality branch, only cls, reg; remove this key'),
    ('atss', dict(loss_reg_kd=KL), ValueError, 'ATSS heads predict none'),
    ('gfl', dict(loss_cls_kd=dict(type='TakesNoReduction')), TypeError,
     r'kd_cfg.loss_cls_kd: TakesNoReduction must take \(pred, target, reduct'),
    ('gfl', dict(region='some'), ValueError, "kd_cfg.region .*found 'some'"),
    ('gfl', dict(prediction='x'), ValueError, 'kd_cfg.prediction'),
])
def test_bad_kd_cfg_is_an_error_when_built(kind, change, error, words):
    cfg = distiller_cfg(kind)
    cfg['kd_cfg'].update(change)
    with pytest.raises(error, match=words):
        build(cfg)


def test_kd_cfg_must_be_there():
    cfg = distiller_cfg('gfl')
    del cfg['kd_cfg']
    with pytest.raises(TypeError, match='kd_cfg must be a dict, found None'):
        build(cfg)


@pytest.mark.parametrize('head, words', [
    (dict(num_classes=80), 'kd_cfg.classes: the student has 3 classes and the '
     "teacher 80, so they are matched by name, but the student's class names "
     'are not known'),
    (dict(stacked_convs=0), 'between 0 and the number of tower layers .0 in '
     "the teacher's head"),
    (dict(anchor_generator=dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=4,
        scales_per_octave=1, strides=[4, 64, 128])),
     'no level of the teacher has a stride of the student'),
])
def test_pairs_that_do_not_fit_are_errors_when_training_begins(head, words):
    cfg = distiller_cfg('gfl')
    cfg['teacher_config']['model'] = plain_cfg('gfl', **head)
    with pytest.raises(ValueError, match=words):
        build(cfg)


def test_plain_imitation_needs_equal_priors():
    cfg = distiller_cfg('gfl', teacher_kind='retina', prediction='student',
                        loss_reg_kd=GIOU)
    with pytest.raises(ValueError, match='anchors per location'):
        build(cfg)


def test_a_head_that_assigns_no_targets_is_named():
    model = build(distiller_cfg('gfl'))
    model.bbox_head.loss = lambda x, samples: (model.bbox_head(x), {})[1]
    with pytest.raises(TypeError, match='GFLHead did not call get_targets'):
        model.loss(*batch())


def test_named_detectors_check_their_family():
    cfg = distiller_cfg('gfl')
    cfg['type'] = 'CrossKDATSS'
    with pytest.raises(TypeError, match='CrossKDATSS distils ATSS heads, '
                       'found GFLHead'):
        build(cfg)


@DISTILLERS.register_module()
class QualityDistiller(Distiller):
    """Of somebody else; needs what not all heads predict."""

    @property
    def needs(self):
        return {'quality'}

    def forward(self, paired):
        ours, theirs = paired.scores('student', 'quality')
        return dict(loss_of_quality=(ours - theirs).square().mean())


def test_what_a_distiller_needs_is_checked_before_training():
    further = [dict(type='QualityDistiller')]
    model = build(distiller_cfg('atss', distillers=further))
    assert total(model.loss(*batch()))['loss_of_quality'] > 0
    with pytest.raises(ValueError, match="QualityDistiller needs the output "
                       "'quality', but the GFL head of the teacher has only "
                       'cls, reg'):
        build(distiller_cfg('gfl', distillers=further))


# -- losses of weight 0 -------------------------------------------------------


def test_what_has_no_weight_is_not_computed():
    cfg = distiller_cfg('gfl', loss_feat_kd=dict(type='PKDLoss'))
    whole = total(build(cfg).loss(*batch()))
    cfg['kd_cfg']['loss_reg_kd']['loss_weight'] = 0
    cfg['kd_cfg']['loss_feat_kd']['loss_weight'] = 0.0
    model = build(cfg)
    losses = model.loss(*batch())
    assert [float(x) for x in losses['loss_reg_kd']] == [0, 0, 0]
    assert [float(x) for x in losses['loss_feat_kd']] == [0, 0, 0]
    assert total(losses)['loss_cls_kd'] == whole['loss_cls_kd'] > 0
    assert model.distillers.needs_now == Needs(frozenset({'cls'}), True)
    model.parse_losses(losses)[0].backward()


def test_without_any_weight_the_student_is_alone():
    cfg = distiller_cfg('gfl')
    for key in ('loss_cls_kd', 'loss_reg_kd'):
        cfg['kd_cfg'][key]['loss_weight'] = 0
    model = build(cfg)
    model.join_teacher()
    runs = runs_of(model.teacher.detector.backbone)
    losses = model.loss(*batch())
    alone = build(plain_cfg('gfl'))
    alone.load_state_dict(model.state_dict())
    expected = alone.loss(*batch())
    assert not runs and total(losses) == {
        **total(expected), 'loss_cls_kd': 0, 'loss_reg_kd': 0}
