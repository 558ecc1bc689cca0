"""Finding and reading config files, and the plain detector of a model."""
import copy
import sys

import pytest
from helpers import build, distiller_cfg, plain_cfg
from mmdet.models.detectors import (
    ATSS,
    GFL,
    FasterRCNN,
    RTMDet,
    SingleStageDetector,
)
from mmdet.registry import MODELS
from mmengine.config import Config

from crosskd.configs import (
    detector_class,
    find_config,
    is_distilled,
    model_of,
    plain_model,
    read_config,
)
from crosskd.detectors import CrossKDGFL, DistillationMixin
from crosskd.teacher.model_config import model_config

OURS = ('teacher_config', 'teacher_ckpt', 'kd_cfg')


# -- finding and reading ------------------------------------------------------


def test_relative_config_is_looked_up_in_three_places(tmp_path, monkeypatch):
    here, beside = tmp_path / 'here', tmp_path / 'beside'
    here.mkdir()
    beside.mkdir()
    monkeypatch.chdir(here)
    (beside / 'teacher.py').write_text('')
    assert find_config('teacher.py', beside=beside) == str(
        beside / 'teacher.py')
    (here / 'teacher.py').write_text('')
    assert find_config('teacher.py', beside=beside) == str(here / 'teacher.py')
    for name in ('gfl/gfl_r50_fpn_1x_coco.py',
                 'configs/gfl/gfl_r50_fpn_1x_coco.py'):
        assert find_config(name).endswith('gfl_r50_fpn_1x_coco.py')
    with pytest.raises(FileNotFoundError, match=r'teacher_config=.*::gfl'):
        find_config('mmdet::gfl/nothing.py')
    with pytest.raises(FileNotFoundError, match=(
            "did you mean 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'[?]$")):
        find_config('mmdet::gfl/gfl_r50_fpn_1x_cocoo.py')
    with pytest.raises(FileNotFoundError, match="; .* mean 'teacher.py'[?]$"):
        find_config('techer.py', beside=beside)
    with pytest.raises(FileNotFoundError, match=r'teacher_config=.*nopack'):
        find_config('nopackage::gfl/nothing.py')
    with pytest.raises(FileNotFoundError, match='looked for') as error:
        find_config('nowhere.py', beside=beside)
    assert str(here) in str(error.value) and str(beside) in str(error.value)


def test_what_the_process_was_started_with_is_not_read(tmp_path, monkeypatch):
    """Such as the arguments of pytest, a notebook or a server."""
    (tmp_path / 'of_somebody.py').write_text('')
    (tmp_path / 'teacher.py').write_text('')
    monkeypatch.setattr(sys, 'argv', ['x', str(tmp_path / 'of_somebody.py')])
    with pytest.raises(FileNotFoundError):
        find_config('teacher.py')


@pytest.mark.parametrize('name, content, said', [
    ('a.py', b'model = dict(', "KEY='a.py': cannot be read: SyntaxError"),
    ('a.py', b'raise OSError', "KEY='a.py': cannot be read: OSError: raise"),
    ('a.py', b'x = 1\ny = x + z', "KEY='a.py': cannot be read: NameError: "
     r"name 'z' is not defined \(/.*/a.py, line 2\)$"),
    ('a.py', b"x = open('gone.txt')", 'cannot be read: FileNotFoundError: '
     r".*'gone.txt' \(/.*/a.py, line 1\)$"),
    ('a.pth', b'', "KEY='a.pth': cannot be read: OSError: .*type are"),
    ('a.py', '# é'.encode('latin-1'),
     r"KEY='a.py': cannot be read: config '/.*/a.py': UnicodeDecodeError.*"
     'Expected Python in UTF-8 without'),
    ('a.py', b'\xef\xbb\xbfx = 1',
     "KEY='a.py': cannot be read: config '/.*/a.py': SyntaxError: .*"
     'Expected Python in UTF-8 without'),
    ('a.py', b"_base_ = 'b.py'",
     "KEY='a.py': cannot be read: config '/.*/a.py': _base_ '/.*/b.py' does "
     'not exist$'),
    ('student.py', b"_base_ = 'studnt.py'",
     "_base_ '/.*/studnt.py' does not exist; did you mean '/.*/student.py'"),
    ('a.py', b"_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_cocoo.py'",
     "cannot be read: config '/.*/a.py': _base_ 'mmdet::gfl/gfl_r50_fpn_1x_"
     "cocoo.py' does not exist; did you mean 'mmdet::gfl/gfl_r50_fpn_1x_coco"),
    ('a.py', b"_base_ = 'mmdet::gfl_r50_fpn_1x_coco.py'",
     "did you mean 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'"),
    ('a.py', b"_base_ = 'mmdt::gfl/gfl_r50_fpn_1x_coco.py'",
     "did you mean 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'"),
])
def test_what_cannot_be_read_is_an_error_of_its_key(
        tmp_path, monkeypatch, name, content, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_config(name, 'KEY')


def test_options_change_what_is_read(tmp_path):
    (tmp_path / 'a.py').write_text("model = dict(type='A', parts=[dict(x=1)])")
    file = str(tmp_path / 'a.py')
    cfg = read_config(file, 'KEY', options={'model.parts.0.x': 3})
    assert cfg.model.parts == [dict(x=3)] and cfg.filename == file
    with pytest.raises(ValueError, match=r"KEY=.* with .*'model.parts.7.x'"):
        read_config(file, 'KEY', options={'model.parts.7.x': 3})


def test_the_model_gets_the_preprocessor_of_the_config():
    """mmengine's Runner merges it in the same way."""
    cfg = Config(dict(model=dict(type='A'), data_preprocessor=dict(type='P')))
    assert model_of(cfg) == dict(type='A', data_preprocessor=dict(type='P'))
    cfg.model.data_preprocessor = dict(type='Own')
    model = model_of(cfg)
    assert model.data_preprocessor == dict(type='Own')
    model.data_preprocessor.type = 'changed'  # a copy
    assert cfg.model.data_preprocessor.type == 'Own'
    for wrong in (dict(), dict(model=5), dict(model=dict(depth=1))):
        with pytest.raises(ValueError, match="KEY: expected a .* 'model'"):
            model_of(Config(wrong), 'KEY')


# -- the plain detector -------------------------------------------------------


class Mixed:
    """Distils any detector behind it, as a mixin."""

    is_distilled = True

    def __init__(self, *args, kd_cfg=None, **kwargs):
        super().__init__(*args, **kwargs)


class MixedATSS(Mixed, ATSS):
    """A named detector that has mmdet's class behind the mixin."""


class Further(MixedATSS):
    """A project's own, which names one of its student's arguments, too."""

    def __init__(self, backbone, *args, my_option=1, **kwargs):
        super().__init__(backbone, *args, **kwargs)


class DistilledDetector:
    """As the registered builder, whose class is known when it is built."""

    def __new__(cls, detector, **kwargs):
        return MODELS.build(dict(type=detector, **kwargs))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'DistilledDetector',
                        DistilledDetector)


STUDENT = dict(backbone=dict(type='ResNet', depth=18))


@pytest.mark.parametrize('model, kind', [
    (dict(type='CrossKDGFL'), None),
    (dict(type='CrossKDRTMDet'), RTMDet),
    (dict(type=MixedATSS, kd_cfg=dict()), ATSS),
    (dict(type=Further, my_option=2, kd_cfg=dict()), ATSS),
    (dict(type='DistilledDetector', detector='FasterRCNN'), FasterRCNN),
    (dict(type='DistilledDetector', detector='mmdet.GFL'), GFL),
    (dict(type='mmdet.DistilledDetector', detector=GFL), GFL),
    (dict(type='KnowledgeDistillationSingleStageDetector',
          eval_teacher=True), SingleStageDetector),
    (dict(type='LAD', teacher_backbone=dict(type='ResNet')),
     SingleStageDetector)])
def test_the_plain_detector_is_what_distillation_was_added_to(model, kind):
    model = dict(STUDENT, **model, teacher_config='a.py',
                 teacher_ckpt='a.pth')
    if isinstance(model['type'], str) and 'Cross' in model['type']:
        model.update(kd_cfg=dict(), trust_teacher_ckpt=True,
                     teacher_dtype='float32')
    if kind is None:
        kind = next(k for k in CrossKDGFL.__mro__
                    if k.__module__.startswith('mmdet'))
    given = copy.deepcopy(model)
    assert is_distilled(model)
    assert plain_model(model) == dict(STUDENT, type=kind)
    assert model == given


@pytest.mark.parametrize('kind', ['GFL', ATSS, 'mmdet.FasterRCNN'])
def test_a_plain_detector_stays_as_it_is(kind):
    model = dict(STUDENT, type=kind, test_cfg=dict())
    assert not is_distilled(model)
    assert plain_model(model) == model


def test_a_semi_supervised_detector_has_no_name_in_detector():
    model = dict(type='SoftTeacher', detector=dict(type='FasterRCNN'))
    assert not is_distilled(model) and plain_model(model) == model


def test_the_class_is_that_of_the_scope():
    assert detector_class(dict(type='GFL')) is GFL
    assert detector_class(dict(type='GFL', _scope_='crosskd')) is GFL
    for model in (dict(type='NoSuch'),
                  dict(type='DistilledDetector', detector='NoSuch')):
        with pytest.raises(ValueError, match="KEY: model.*='NoSuch' is not "
                                             'registered'):
            plain_model(model, 'KEY')


def test_the_distilled_say_so():
    assert issubclass(CrossKDGFL, DistillationMixin)
    assert is_distilled(dict(type='CrossKDGFL'))
    assert not getattr(SingleStageDetector, 'is_distilled', False)


def test_a_distilled_teacher_keeps_its_class():
    """RTMDet's own methods come with it, and further arguments go."""
    student = dict(distiller_cfg('rtmdet'), type='CrossKDRTMDet')
    model = model_config(dict(model=student, default_scope='mmdet'), None)
    teacher = build(model)
    assert type(teacher) is RTMDet
    assert not set(OURS) & set(model)
    plain = build(dict(plain_cfg('rtmdet'), type='RTMDet'))
    assert teacher.state_dict().keys() == plain.state_dict().keys()
