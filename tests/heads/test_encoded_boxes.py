"""Encoded boxes of a student's own, where its coder is not the teacher's."""
import copy

import pytest
import torch
from families import FAMILY
from helpers import KINDS, MORE_KINDS, batch, build, distiller_cfg, total
from mmdet.models.task_modules.coders import TBLRBBoxCoder
from mmdet.registry import TASK_UTILS

from crosskd.heads import ATSSHeadAdapter, HeadAdapter

L1 = dict(type='L1Loss')
STRIDES = [8, 16, 32]
STDS = dict(type='DeltaXYWHBBoxCoder', target_means=[0.1, 0.2, -0.3, 0.0],
            target_stds=[0.1, 0.3, 0.2, 0.5])
CLAMPED = dict(type='DeltaXYWHBBoxCoder', add_ctr_clamp=True, ctr_clamp=100)
SQUARE = dict(type='AnchorGenerator', ratios=[1.0], scales_per_octave=1,
              strides=STRIDES)
LARGER = dict(anchor_generator=dict(SQUARE, octave_base_scale=6))
ELSEWHERE = dict(anchor_generator=dict(
    SQUARE, octave_base_scale=4, center_offset=0.5))
POINTS = dict(anchor_generator=dict(
    type='MlvlPointGenerator', offset=0.5, strides=STRIDES))
#: the family, and what is different in the teacher's head
OTHERS = {
    'deltas, other units': ('atss', dict(bbox_coder=STDS)),
    'deltas, clamped': ('atss', dict(bbox_coder=CLAMPED)),
    'deltas, several anchors': ('retina', dict(bbox_coder=STDS)),
    'deltas, larger anchors': ('paa', LARGER),
    'deltas, anchors elsewhere': ('ddod', ELSEWHERE),
    'distances, points elsewhere': ('rtmdet', POINTS),
    'bins, anchors elsewhere': ('gfl', ELSEWHERE)}
#: where numbers mean the same, whatever else is different
ALIKE = {
    'the same': ('atss', {}),
    'the border': ('atss', dict(bbox_coder=dict(
        type='DeltaXYWHBBoxCoder', target_stds=(0.1, 0.1, 0.2, 0.2),
        clip_border=False))),
    'distances in strides': ('fcos', dict(norm_on_bbox=True)),
    'distances, exponentiated': ('rtmdet', dict(exp_on_reg=False)),
    'bins about larger anchors': ('gfl', LARGER),
    'YOLOX': ('yolox', {})}


def imitation(kind, head, loss=L1):
    """A student that imitates a teacher whose head differs by that."""
    cfg = distiller_cfg(kind, teacher_width=8, prediction='student',
                        reused_teacher_head_idx=None, loss_reg_kd=loss)
    cfg['teacher_config']['model']['bbox_head'].update(copy.deepcopy(head))
    return cfg


def passed(model):
    """The paired pass of a step of it."""
    seen = []
    forward = model.distillers.predictions.forward
    model.distillers.predictions.forward = lambda paired: (
        seen.append(paired) or forward(paired))
    model.eval().loss(*batch())
    return seen[0]


@pytest.mark.parametrize('case', OTHERS)
def test_the_teachers_coder_makes_the_students_boxes_of_them(case):
    """And the loss is of these numbers, with a gradient."""
    kind, head = OTHERS[case]
    model = build(imitation(kind, head))
    assert not model.pair.same_encoding
    paired = passed(model)
    ours, theirs = paired.regression('student', 'encoded')
    student, teacher = paired.student, paired.teacher
    geometry = paired.geometry('teacher')
    boxes = student.boxes(paired.flat('student', 'reg'),
                          paired.geometry('student'))
    centers = FAMILY[kind].boxes in ('distances', 'bins')
    times = len(boxes) // len(geometry.priors)
    found = teacher.head.bbox_coder.decode(
        (geometry.centers if centers else geometry.priors).repeat(times, 1),
        ours * geometry.strides.repeat(times, 1) if centers else ours)
    torch.testing.assert_close(found, boxes, rtol=1e-4, atol=1e-3)
    expected = teacher.encoded(paired.flat('teacher', 'reg'), geometry)
    assert torch.equal(theirs, expected)
    ours.sum().backward()
    grads = [p.grad for p in model.bbox_head.parameters()
             if p.grad is not None]
    assert grads and all(g.isfinite().all() for g in grads)


@pytest.mark.parametrize('case', ['deltas, other units',
                                  'deltas, several anchors'])
def test_equal_boxes_of_two_coders_have_no_loss(case):
    """A student of the teacher's boxes, in other units."""
    kind, head = OTHERS[case]
    head = copy.deepcopy(head)
    head['bbox_coder'] = dict(type='DeltaXYWHBBoxCoder',
                              target_stds=[0.1, 0.1, 0.2, 0.2])
    cfg = imitation(kind, head)
    cfg['bbox_head']['bbox_coder'] = dict(
        type='DeltaXYWHBBoxCoder', target_stds=[1.0, 1.0, 2.0, 2.0])
    model = build(cfg).eval()
    teacher = model.teacher.detector
    with torch.no_grad():
        for p in (teacher.bbox_head, model.bbox_head):
            layer = getattr(p, FAMILY[kind].layers[1])
            layer.weight.normal_(std=0.05)
        teacher.load_state_dict(model.state_dict())
        layer = getattr(teacher.bbox_head, FAMILY[kind].layers[1])
        layer.weight.mul_(10)
        layer.bias.mul_(10)
        losses = total(model.loss(*batch()))
        layer.weight.mul_(2)
        more = total(model.loss(*batch()))
    assert losses['loss_reg_kd'] == pytest.approx(0, abs=1e-2)
    assert more['loss_reg_kd'] > 0.05


@pytest.mark.parametrize('case', ALIKE)
def test_numbers_of_one_meaning_are_compared_as_they_are(case, monkeypatch):
    kind, head = ALIKE[case]
    cfg = imitation(kind, head)
    if case == 'the border':
        cfg['bbox_head']['bbox_coder'] = dict(
            type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
    model = build(cfg)
    assert model.pair.same_encoding
    monkeypatch.setattr(HeadAdapter, 'encode', None)
    paired = passed(model)
    ours, _ = paired.regression('student', 'encoded')
    assert torch.equal(ours, paired.student.encoded(
        paired.flat('student', 'reg'), paired.geometry('student')))


@pytest.mark.parametrize('kind', KINDS + MORE_KINDS)
def test_encoding_undoes_decoding(kind):
    """Of every family whose head has a coder."""
    model = build(imitation(kind, {}, dict(type='GIoULoss')))
    head, levels = model.head_adapter, [0, 1, 2]
    assert head.encodes_like(levels, model.teacher.head, levels)
    assert head.can_encode_for(levels, model.teacher.head) == (
        FAMILY[kind].boxes != 'logarithms')


def test_an_adapter_that_encodes_otherwise_is_refused(monkeypatch):
    """One with boxes of its own, which the head's coder does not encode."""
    boxes = ATSSHeadAdapter.boxes
    monkeypatch.setattr(ATSSHeadAdapter, 'boxes',
                        lambda *args: 2 * boxes(*args))
    build(imitation('atss', {}))
    with pytest.raises(ValueError, match='the same numbers mean different'):
        build(imitation('atss', dict(bbox_coder=STDS)))


@TASK_UTILS.register_module(force=True)
class Sides(TBLRBBoxCoder):
    """A coder of another kind."""


KL = dict(type='KnowledgeDistillationKLDivLoss', class_reduction='sum', T=1)
REFUSED = {
    'another kind of coder': (
        'atss', dict(bbox_coder=dict(type='Sides')), L1,
        'DeltaXYWHBBoxCoder in the student, Sides in the teacher'),
    'bins about other places': (
        'gfl', ELSEWHERE, KL, 'compares bins, but the same numbers mean'),
    'more bins': (
        'gfl', dict(reg_max=12), KL, r'reg_max \+ 1 must be equal')}


@pytest.mark.parametrize('case', REFUSED)
def test_what_has_no_common_meaning_is_refused_before_training(case):
    kind, head, loss, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as error:
        build(imitation(kind, head, loss))
    assert 'kd_cfg.loss_reg_kd' in str(error.value) or 'reg_max' in message
    # boxes can be compared all the same
    build(imitation(kind, head, dict(type='GIoULoss')))


def test_bins_of_another_range_are_refused():
    model = build(imitation('gfl', {}, KL), joins=False)
    join = model.teacher.join

    def with_other_bins(*args):
        join(*args)
        model.teacher.head.head.integral.project *= 2

    model.teacher.join = with_other_bins
    with pytest.raises(ValueError, match='compares bins, but the same'):
        model.join_teacher()


@pytest.mark.parametrize('case', ['deltas, other units',
                                  'bins, anchors elsewhere'])
def test_cross_head_predictions_are_the_teachers_own_numbers(case):
    kind, head = OTHERS[case]
    cfg = imitation(kind, head)
    cfg['kd_cfg'].update(prediction='cross_head', reused_teacher_head_idx=1)
    model = build(cfg)
    paired = passed(model)
    ours, _ = paired.regression('cross_head', 'encoded')
    assert torch.equal(ours, paired.teacher.encoded(
        paired.flat('cross_head', 'reg'), paired.geometry('teacher')))
