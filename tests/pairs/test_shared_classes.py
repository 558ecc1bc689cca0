"""Classes of teacher and student, matched by name; levels, by stride."""
import copy
import logging

import pytest
import torch
from experiments import CLASSES, experiment, model_cfg, write
from families import FAMILY, quick_cases
from helpers import (
    BCE,
    FAMILIES,
    GIOU,
    NUM_CLASSES,
    SDD,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    total,
)
from mmengine.logging import MMLogger
from tool_server import run as tool

from crosskd.pairs import match_classes

PKD = dict(type='PKDLoss', loss_weight=1.0)
NAMES = ('person', 'car', 'dog')


def match(student, teacher, **synonyms):
    return match_classes(student, teacher, tuple(
        3 if n is None else len(n) for n in (student, teacher)), synonyms)


# -- names --------------------------------------------------------------------


@pytest.mark.parametrize('student, teacher, synonyms, ours, theirs', [
    (NAMES, NAMES, {}, [0, 1, 2], [0, 1, 2]),
    (NAMES, ('dog', 'person', 'car'), {}, [0, 1, 2], [1, 2, 0]),
    (NAMES, ('cat', 'dog', 'tree', 'person'), {}, [0, 2], [3, 1]),
    (('Traffic_Light', 'car'), ('traffic light', ), {}, [0], [0]),
    (('pedestrian', 'car'), ('person', 'car'), dict(pedestrian='person'),
     [0, 1], [0, 1]),
    # several of the student's may be one of the teacher's
    (('man', 'woman'), ('person', 'car'),
     dict(man='person', woman='person'), [0, 1], [0, 0]),
    # a synonym goes before the name itself
    (('bat', 'ball'), ('bat', 'animal'), dict(bat='animal'), [0], [1]),
    # capitals, underscores, hyphens and spaces
    (('TrafficLight', 'hot-dog', 'T_shirt'),
     ('t-shirt', 'traffic light', 'Hot Dog'), {}, [0, 1, 2], [1, 2, 0]),
    # as it is spelled goes before another spelling
    (('Car', 'car', 'CAR'), ('Car', 'car', 'CAR'), {}, [0, 1, 2], [0, 1, 2]),
    (('Car', 'car', 'a_b', 'a b'), ('car', 'a b', 'Car', 'a_b'), {},
     [0, 1, 2, 3], [2, 0, 3, 1]),
    # and is not that of another class, too
    (('Car', 'car', 'dog'), ('car', 'cat', 'DOG'), {}, [1, 2], [0, 2]),
    (('Car', 'car'), ('car', 'auto'), dict(Car='auto'), [0, 1], [1, 0]),
    # nor one of several that it could be
    (('red car', 'red_car', 'dog'), ('redcar', 'dog'), {}, [2], [1]),
    (('Car', 'CAR', 'dog'), ('car', 'dog'), dict(CAR='car'), [1, 2], [0, 1]),
    (('-', '_'), ('_', '-'), {}, [0, 1], [1, 0]),
    (('猫', 'Ärger'), ('ärger', '猫'), {}, [0, 1], [1, 0]),
    (None, NAMES, {}, [0, 1, 2], [0, 1, 2]),
    (NAMES, None, {}, [0, 1, 2], [0, 1, 2]),
    (None, None, {}, [0, 1, 2], [0, 1, 2])])
def test_they_are_matched_by_name(student, teacher, synonyms, ours, theirs):
    shared = match(student, teacher, **synonyms)
    assert shared.student == ours and shared.teacher == theirs


def test_what_is_shared_is_said():
    assert match(NAMES, NAMES).message == ''
    assert match(('Car', 'dog'), ('car', 'dog')).message == (
        "2 of 2 classes are distilled: Car (the teacher's car), dog")
    said = match(('pedestrian', 'car', 'dog', 'trafic light'),
                 ('car', 'person', 'traffic light', 'tree'),
                 pedestrian='person').message
    assert ("2 of 4 classes are distilled: pedestrian (the teacher's person),"
            ' car; ') in said
    assert '; learned from labels only: dog, trafic light' in said
    assert "'trafic light' is what the teacher calls 'traffic light'" in said
    assert "set kd_cfg.classes={'trafic light': 'traffic light'}" in said
    assert 'tree' not in said
    assert match(('a', 'b'), ('a', 'b'), a='b').message == (
        "2 of 2 classes are distilled: a (the teacher's b), b")


@pytest.mark.parametrize('student, teacher, synonyms, words', [
    (NAMES, ('cat', 'tree'), {},
     'no class in common. The student has person, car, dog, the teacher cat, '
     'tree; to match different names, set'),
    (NAMES, ('Car', 'CAR', 'dog'), {}, "several classes called 'car', "
     "expected one: Car, CAR, dog; .*name it: kd_cfg.classes={'car': 'Car'}"),
    (NAMES, ('car', 'car', 'dog'), {}, "several classes called 'car', "
     'expected one: car, car, dog$'),
    (NAMES, NAMES, dict(man='person'), "'man' is not a class of the student"),
    (NAMES, NAMES, dict(person='man'), "'man' is not a class of the teacher"),
    (NAMES, None, dict(person='man'), 'synonyms need the names .* teacher'),
    (None, NAMES, dict(person='man'), 'synonyms need the names .* student'),
    (('person', ), None, {}, 'student has 1 classes and the teacher 3, .*set '
     'kd_cfg.teacher_classes'),
    (None, ('person', ), {}, 'student has 3 classes and the teacher 1, .*the '
     "student's class names are not known"),
])
def test_what_cannot_be_matched_is_an_error(student, teacher, synonyms,
                                            words):
    with pytest.raises(ValueError, match=words):
        match(student, teacher, **synonyms)


# -- losses -------------------------------------------------------------------


def pair(kind, names, rows, prediction, **kd):
    """A student of NAMES; the teacher's class rows are those of ``rows``.

    A row of None is a class that NAMES has not; the teacher is sure of it.
    """
    kd = dict(dict(loss_reg_kd=GIOU, prediction=prediction, loss_sdd=SDD,
                   loss_feat_kd=PKD), **kd)
    cfg = distiller_cfg(kind, **kd)
    model = build(cfg)
    cfg['kd_cfg']['teacher_classes'] = names
    plain = model.teacher.detector
    cfg['teacher_config']['model']['bbox_head']['num_classes'] = len(rows)
    other = build(cfg, joins=False)
    other.teacher.join(other)
    source, target = plain.state_dict(), other.teacher.detector.state_dict()
    for name, value in target.items():
        if f'.{FAMILY[kind].layers[0]}.' in name:
            old = source[name].unflatten(0, (-1, NUM_CLASSES))
            new = value.unflatten(0, (-1, len(rows)))
            for i, row in enumerate(rows):
                sure = 5.0 if name.endswith('bias') else 0.0
                new[:, i] = sure if row is None else old[:, row]
        else:
            value.copy_(source[name])
    other.load_state_dict(model.state_dict())
    other.join_teacher(NAMES)
    return other


@pytest.mark.parametrize('prediction', quick_cases(
    ['cross_head'], ['cross_head', 'student']))
@pytest.mark.parametrize('kind', FAMILIES)
def test_order_and_other_classes_of_the_teacher_change_no_loss(
        kind, prediction):
    """CrossKD or plain imitation, with SDD and PKD."""
    quality = BCE if FAMILY[kind].third == 'loss_center_kd' else None
    losses = [
        total(pair(kind, names, rows, prediction,
                   loss_center_kd=quality).loss(*batch()))
        for names, rows in (
            (NAMES, (0, 1, 2)), (('dog', 'person', 'car'), (2, 0, 1)),
            (('tree', 'dog', 'person', 'cat', 'car'),
             (None, 2, 0, None, 1)))
    ]
    assert losses[0]['loss_cls_kd'] > 0 and losses[0]['loss_sdd_box'] > 0
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize('kind', FAMILIES)
def test_classes_of_the_student_alone_learn_from_labels(kind):
    model = pair(kind, ('dog', 'person'), (2, 0), 'student')
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    distilled = sum(sum(v) for k, v in losses.items() if 'kd' in k or
                    'sdd' in k)
    weights = [p for name, p in model.bbox_head.named_parameters()
               if f'{FAMILY[kind].layers[0]}.' in name
               and name.endswith('weight')]

    def gradient(loss):
        """The largest of each class, of one layer or one a level."""
        return torch.stack(torch.autograd.grad(
            loss, weights, retain_graph=True)).unflatten(
                1, (-1, NUM_CLASSES)).abs().amax((0, 1, 3, 4, 5))

    person, car, dog = gradient(distilled)
    assert car == 0 and person > 0 and dog > 0
    own = sum(losses['loss_cls']) if isinstance(
        losses['loss_cls'], list) else losses['loss_cls']
    assert gradient(own)[1] > 0
    # no box region, no positive
    for sample in samples:
        sample.gt_instances.labels = torch.full_like(
            sample.gt_instances.labels, 1)
    assert total(model.loss(inputs, samples))['loss_sdd_box'] == 0
    model.distillers.predictions.region = 'positives'
    assert total(model.loss(inputs, samples))['loss_cls_kd'] == 0


def test_a_softmax_base_needs_two_shared_classes():
    for names, rows, fine in ((('cat', 'dog'), (None, 2), False),
                              (('car', 'dog'), (1, 2), True)):
        args = ('gfl', names, rows, 'student')
        kd = dict(loss_sdd=dict(SDD, base='kd'))
        if fine:
            pair(*args, **kd).loss(*batch())
        else:
            with pytest.raises(ValueError, match="base 'kd' compares classes"):
                pair(*args, **kd)


def test_a_teacher_of_other_classes_in_a_real_run(project, tmp_path):
    """One line in the config; said in the log, or refused before it begins."""
    teacher = model_cfg(plain_cfg('gfl', 16))
    teacher['bbox_head']['num_classes'] = 4
    model = build(teacher)
    file = tmp_path / 'teacher.pth'
    theirs = ('disc', 'star', 'cross', 'house')
    torch.save(dict(state_dict=model.state_dict(),
                    meta=dict(dataset_meta=dict(classes=theirs))), file)
    cfg = model_cfg(distiller_cfg('gfl', teacher=str(file)))
    cfg['teacher_config'] = dict(model=teacher)
    write(project / 'others.py', experiment(cfg, epochs=1))
    run = ('train.py', 'others.py', '--work-dir', tmp_path / 'run',
           '--cfg-options')
    out = tool(*run, 'model.kd_cfg.classes.circle=disc', cwd=project)
    assert ("3 of 5 classes are distilled: circle (the teacher's disc), star, "
            'cross; learned from labels only: square, triangle') in out
    assert (tmp_path / 'run/epoch_1.pth').exists()
    names = "('a','b','c','d')"
    out = tool(*run, f'model.kd_cfg.teacher_classes={names}', cwd=project,
               ok=False)
    assert ('no class in common. The student has '
            f'{", ".join(CLASSES)}, the teacher a, b, c, d') in out


# -- levels -------------------------------------------------------------------


def levels_cfg(kind, strides, start_level):
    """A teacher with these levels, one after another from that stage on."""
    cfg = plain_cfg(kind, 16)
    cfg['neck'].update(start_level=start_level, num_outs=len(strides))
    head = cfg['bbox_head']
    for strided in (head, head.get('anchor_generator', {})):
        if 'strides' in strided:
            strided['strides'] = strides
    if 'regress_ranges' in head:
        head['regress_ranges'] = tuple(
            (-1 if s == 8 else 2 * s, 4 * s) for s in strides)
    return cfg


@pytest.mark.parametrize('prediction', ['cross_head', 'student'])
@pytest.mark.parametrize('kind', FAMILIES)
def test_levels_of_the_teacher_alone_change_no_loss(kind, prediction, caplog):
    cfg = distiller_cfg(kind, prediction=prediction, loss_sdd=SDD,
                        loss_reg_kd=GIOU, loss_feat_kd=PKD)
    model = build(cfg)
    teacher = copy.deepcopy(model.teacher.detector.state_dict())
    expected = total(model.loss(*batch()))
    cfg['teacher_config']['model'] = levels_cfg(kind, [8, 16, 32, 64], 1)
    MMLogger.get_current_instance().addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        other = build(cfg)
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert ('only the teacher has levels of stride 64; they are not distilled'
            in caplog.text)
    other.teacher.detector.load_state_dict(teacher, strict=False)
    other.load_state_dict(model.state_dict())
    found = total(other.loss(*batch()))
    # boxes belong to the level that has their size, also of more levels
    for losses in (found, expected):
        assert losses.pop('loss_sdd_box') > 0
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('kind', FAMILIES)
def test_levels_of_the_student_alone_learn_from_labels(kind):
    cfg = distiller_cfg(kind, prediction='student', loss_reg_kd=GIOU,
                        loss_feat_kd=PKD)
    cfg['teacher_config']['model'] = levels_cfg(kind, [16, 32], 2)
    model = build(cfg)
    assert model.pair.levels == [(1, 0), (2, 1)]
    losses = model.loss(*batch())
    for key in ('loss_cls_kd', 'loss_reg_kd', 'loss_feat_kd'):
        assert len(losses[key]) == 2
    own = losses['loss_bbox']
    assert len(own) == 3 if isinstance(own, list) else own > 0
    distilled = sum(sum(v) for k, v in losses.items() if k.endswith('kd'))
    conv = model.neck.fpn_convs[0].conv.weight  # of stride 8
    grad, = torch.autograd.grad(distilled, [conv], retain_graph=True,
                                allow_unused=True)
    assert grad is None or grad.abs().max() == 0
    value, _ = model.parse_losses(losses)
    grad, = torch.autograd.grad(value, [conv])
    assert grad.abs().max() > 0


def test_a_copy_keeps_what_was_matched():
    model = pair('gfl', ('dog', 'person'), (2, 0), 'cross_head')
    clone = copy.deepcopy(model)
    assert total(clone.loss(*batch())) == total(model.loss(*batch()))


def test_a_pair_that_was_refused_is_refused_again():
    cfg = distiller_cfg('gfl')
    cfg['teacher_config']['model']['bbox_head']['num_classes'] = 7
    model = build(cfg, joins=False)
    for _ in range(2):
        with pytest.raises(ValueError, match='matched by name'):
            model.join_teacher()
    with pytest.raises(ValueError, match='matched by name'):
        model.loss(*batch())


def test_features_need_no_classes():
    cfg = distiller_cfg('gfl')
    cfg['type'] = 'DistilledSingleStageDetector'
    cfg['kd_cfg'] = dict(loss_feat_kd=PKD)
    cfg['teacher_config']['model']['bbox_head']['num_classes'] = 7
    model = build(cfg)
    model.loss(*batch())  # fuses norms, and looks whether that is exact
    head = model.teacher.detector.bbox_head
    head.forward = None  # nor does the teacher run its head
    assert total(model.loss(*batch()))['loss_feat_kd'] > 0


@pytest.mark.parametrize('teacher, level', [
    (('dog', 'person', 'car', 'cat'), 'INFO'), (('dog', 'car'), 'WARNING')])
def test_classes_that_are_not_distilled_are_a_warning(teacher, level, caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        pair('gfl', teacher, range(len(teacher)) if level == 'WARNING' else (
            2, 0, 1, None), 'student')
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert [record.levelname for record in caplog.records
            if 'of 3 classes are distilled' in record.getMessage()] == [level]


def test_what_is_matched_by_number_is_said(caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        build(distiller_cfg('gfl', teacher_classes=('x', 'y', 'z')))
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert ("3 classes are matched by index, because the student's class names"
            ' are not known') in caplog.text
