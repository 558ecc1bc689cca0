"""Students that start from weights of their teacher (``kd_cfg.inherit``)."""
import copy
import re

import pytest
import torch
from any_detectors import distilled, plain
from helpers import (
    CHANNELS,
    batch,
    build,
    distiller_cfg,
    lively,
    plain_cfg,
    wide_teacher,
)
from mmengine.logging import MMLogger

from crosskd.configs import plain_model
from crosskd.engine.run_checks import warn_of_frozen
from crosskd.errors import ConfigTypeError, ConfigValueError

PARTS = ('neck', 'bbox_head')


def inheriting(*names, cfg=None, **kwargs):
    cfg = copy.deepcopy(cfg or distiller_cfg('gfl', teacher_width=8))
    cfg['kd_cfg']['inherit'] = names
    cfg.update(kwargs)
    return cfg


def alone(cfg):
    """The weights of the same student without inheriting."""
    cfg = copy.deepcopy(cfg)
    del cfg['kd_cfg']['inherit']
    model = build(cfg)
    torch.manual_seed(1)
    model.init_weights()
    return model.state_dict()


def started(cfg, joins=True):
    """The student as training begins, and the weights of its teacher."""
    model = build(cfg, joins=False)
    model.teacher.read()
    lively(model.teacher.detector)
    theirs = copy.deepcopy(model.teacher.detector.state_dict())
    if joins:
        model.join_teacher()
    torch.manual_seed(1)
    model.init_weights()
    return model, theirs


def is_in(key, names):
    return any(f'{key}.'.startswith(f'{name}.') for name in names)


@pytest.fixture
def said(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records
                   if 'kd_cfg.inherit' in record.getMessage()]
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize('joins', [True, False])
@pytest.mark.parametrize('names', [
    ('neck', ), PARTS, ('backbone.layer1', ), ('backbone', *PARTS)], ids=str)
def test_it_starts_from_the_weights_of_those_modules(names, joins):
    cfg = inheriting(*names)
    model, theirs = started(cfg, joins)
    own = alone(cfg)
    for key, value in model.state_dict().items():
        expected = theirs if is_in(key, names) else own
        assert torch.equal(value, expected[key]), key
    changed = [key for key in own if is_in(key, names)
               and not torch.equal(own[key], theirs[key])]
    assert changed
    if 'backbone' in names:  # buffers of norms, too
        assert 'backbone.bn1.running_mean' in changed


def test_parameters_stay_the_same_objects():
    """Optimizers and averages that exist before go on with them."""
    model = build(inheriting(*PARTS))
    before = {name: id(p) for name, p in model.named_parameters()}
    model.init_weights()
    assert before == {name: id(p) for name, p in model.named_parameters()}


def test_it_is_the_same_after_the_teacher_has_run():
    """As with the DistillationRunner, which tries the pair first."""
    cfg = inheriting('backbone', *PARTS, teacher_dtype='bfloat16')
    model = build(cfg, joins=False)
    model.teacher.read()
    theirs = copy.deepcopy(lively(model.teacher.detector).state_dict())
    model.join_teacher()
    model.loss(*batch())
    own = model.teacher.detector
    assert next(own.parameters()).dtype == torch.bfloat16
    assert len(own.state_dict()) < len(theirs)  # fused
    model.init_weights()
    for key, value in model.state_dict().items():
        assert value.dtype == theirs[key].dtype
        assert torch.equal(value, theirs[key]), key


def test_layers_that_do_not_fit_are_left(said):
    """The teacher's backbone is wider, and its neck takes more channels."""
    cfg = inheriting(*PARTS, cfg=distiller_cfg('gfl', teacher_width=16))
    model, theirs = started(cfg)
    own = alone(cfg)
    left = {key for key, value in own.items() if is_in(key, PARTS)
            and value.shape != theirs[key].shape}
    assert {key.rpartition('.')[0] for key in left} == {
        f'neck.lateral_convs.{i}.conv' for i in range(3)}
    for key, value in model.state_dict().items():
        # a bias without its weight is not taken
        layer = f'{key.rpartition(".")[0]}.weight'
        expected = theirs if is_in(key, PARTS) and layer not in left else own
        assert torch.equal(value, expected[key]), key
    message, = said()
    neck = [key for key in own if is_in(key, ['neck'])]
    head = [key for key in own if is_in(key, ['bbox_head'])]
    assert (f'starts from the teacher\'s weights of neck ({len(neck) - 6} of '
            f'{len(neck)} tensors), bbox_head ({len(head)} of {len(head)} '
            'tensors); not of layers with other names or shapes in the '
            'teacher: neck.lateral_convs.0.conv.weight, ') in message


def test_it_wins_over_init_cfg(tmp_path):
    other = build(plain_cfg('gfl'))
    other.init_weights()
    path = tmp_path / 'pretrained.pth'
    torch.save(dict(state_dict=other.state_dict()), path)
    model, theirs = started(inheriting('neck', init_cfg=dict(
        type='Pretrained', checkpoint=str(path))))
    for key, value in model.state_dict().items():
        expected = theirs if is_in(key, ['neck']) else other.state_dict()
        assert torch.equal(value, expected[key]), key


def test_a_second_initialisation_changes_nothing(said):
    model, _ = started(inheriting(*PARTS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)  # as training would
    trained = copy.deepcopy(model.state_dict())
    model.init_weights()
    for key, value in model.state_dict().items():
        assert torch.equal(value, trained[key]), key
    assert len(said()) == 1


def test_a_copy_made_before_inherits_too():
    model = build(inheriting('neck'))
    other = copy.deepcopy(model)
    for one in (model, other):
        one.init_weights()
    theirs = model.teacher.detector.state_dict()
    for key, value in other.state_dict().items():
        assert not is_in(key, ['neck']) or torch.equal(value, theirs[key]), key


@pytest.mark.parametrize('kind, names', [
    ('faster', ('rpn_head.rpn_reg', )), ('dino', ('bbox_head.reg_branches', )),
    ('dino', ('memory_trans_fc', 'level_embed'))])
def test_modules_of_any_detector(kind, names):
    model, theirs = started(inheriting(*names, cfg=distilled(
        plain(kind), plain(kind))))
    taken = [key for key in theirs if is_in(key, names)]
    assert taken
    for key in taken:
        assert torch.equal(model.state_dict()[key], theirs[key]), key


def test_the_plain_student_has_no_such_key():
    cfg = inheriting(*PARTS)
    assert 'kd_cfg' not in plain_model(cfg)
    ours, theirs = started(cfg)[0], build(dict(plain_model(cfg), type='GFL'))
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize('names, warns', [
    (('backbone', 'neck'), False), (('neck', ), True)], ids=str)
def test_frozen_layers_that_are_inherited_are_not_random(caplog, names,
                                                         warns):
    cfg = inheriting(*names)
    cfg['backbone']['frozen_stages'] = 1
    model = build(cfg)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    warn_of_frozen(model, dict(model=cfg))
    logger.removeHandler(caplog.handler)
    assert any('random weights' in record.getMessage()
               for record in caplog.records) == warns


# -- classes -----------------------------------------------------------------

OURS = ('cat', 'dog', 'bird')


@pytest.mark.parametrize('names, theirs, warns', [
    (PARTS, OURS, False), (PARTS, ('dog', 'cat', 'bird'), True),
    (('neck', ), ('dog', 'cat', 'bird'), False), (PARTS, None, False),
    (PARTS, ('Cat', 'DOG', 'bird'), False)])
def test_classes_in_another_order_are_warned_of(said, names, theirs, warns):
    model = build(inheriting(*names), joins=False)
    model.join_teacher(OURS, teacher_classes=theirs)
    warnings = [x for x in said() if 'other names' in x]
    assert bool(warnings) == warns
    if warns:
        assert "bbox_head has as many classes" in warnings[0]
        assert ("weights for 'cat' start from the teacher's for 'dog' (index "
                '0)') in warnings[0]


def test_classes_of_two_stages_in_another_order_are_warned_of(said):
    cfg = distilled(plain('faster'), plain('faster'))
    build(inheriting('roi_head', cfg=cfg), joins=False).join_teacher(
        tuple('abcde'), teacher_classes=tuple('abced'))
    message, = said()
    assert 'roi_head.bbox_head has as many classes' in message
    assert "for 'd' start from the teacher's for 'e' (index 3)" in message


# -- bad input ---------------------------------------------------------------


@pytest.mark.parametrize('found', ['neck', 3, ('neck', 3), dict(neck=1),
                                   ('', ), ''], ids=repr)
def test_what_is_no_tuple_of_names_is_an_error(found):
    cfg = distiller_cfg('gfl', inherit=found)
    with pytest.raises(ConfigTypeError, match=r"kd_cfg.inherit must be a tuple"
                       rf" of names .*, found {re.escape(repr(found))}"):
        build(cfg, joins=False)


@pytest.mark.parametrize('names, words', [
    (('nekc', ), "the student has no module 'nekc' .*did you mean 'neck'"),
    (('neck', 'bbox_head.cls_conv'),
     "no module 'bbox_head.cls_conv' .*did you mean 'bbox_head.cls_convs'"),
    (('data_preprocessor', ), "no module 'data_preprocessor' with weights"),
])
def test_unknown_modules_are_an_error(names, words):
    with pytest.raises(ConfigValueError, match=f'kd_cfg.inherit: .*{words}'):
        build(inheriting(*names))


def test_a_module_of_the_student_alone_is_an_error():
    cfg = inheriting('neck.fpn_convs')
    teacher = cfg['teacher_config']['model']
    teacher['backbone']['out_indices'] = (1, 2, 3)
    teacher['neck'] = dict(
        type='ChannelMapper', in_channels=[16, 32, 64], kernel_size=3,
        out_channels=CHANNELS)
    with pytest.raises(ConfigValueError, match='kd_cfg.inherit: the teacher '
                       "has no module 'neck.fpn_convs'"):
        build(cfg)


def test_a_module_of_which_nothing_fits_is_an_error():
    cfg = inheriting('neck', cfg=wide_teacher(distiller_cfg('gfl')))
    with pytest.raises(ConfigValueError, match=re.escape(
            "kd_cfg.inherit: nothing of the teacher's 'neck' fits the student:"
            ' neck.lateral_convs.0.conv.weight has the shape (8, 16, 1, 1) in '
            'the student, and has the shape (16, 32, 1, 1) in the teacher')):
        build(cfg)


def test_a_teacher_that_has_run_is_an_error():
    model = build(inheriting('neck'))
    model.loss(*batch())
    with pytest.raises(RuntimeError, match='kd_cfg.inherit: .* already run'):
        build(inheriting('neck'), joins=False).join_teacher(
            teacher=model.teacher)
