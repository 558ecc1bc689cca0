"""Any detector as one that learns: its class is made once, and found."""
import copy
import pickle
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from helpers import batch, build, distiller_cfg, kd_cfg, plain_cfg, total
from mmdet.models.detectors import GFL, FasterRCNN, RetinaNet
from mmdet.registry import MODELS
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import DefaultScope, Registry

from crosskd.detectors import DistillationMixin, distilled_class
from crosskd.errors import ConfigError

PKD = dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0))


def cfg_of(detector='GFL', kd=None, width=16):
    return dict(plain_cfg('gfl'), type='DistilledDetector', detector=detector,
                teacher_config=dict(model=plain_cfg('gfl', width)),
                teacher_ckpt='random', kd_cfg=kd or PKD)


def test_it_is_the_detector_and_its_class_is_made_once():
    ours, theirs = build(cfg_of()), build(cfg_of(GFL))
    assert isinstance(ours, GFL) and isinstance(ours, DistillationMixin)
    assert type(ours) is type(theirs) is distilled_class(GFL)
    assert type(ours).__name__ == 'DistilledGFL'
    assert type(ours) is not distilled_class(RetinaNet)
    plain = build(plain_cfg('gfl'))
    assert list(ours.state_dict()) == list(plain.state_dict())


def test_its_class_is_found_by_its_name():
    made = type(build(cfg_of()))
    module = import_module(made.__module__)
    assert getattr(module, made.__qualname__) is made
    assert module.DistilledFasterRCNN is distilled_class(FasterRCNN)
    with pytest.raises(AttributeError, match='DistilledNothing'):
        module.DistilledNothing  # noqa: B018
    with pytest.raises(AttributeError, match='DistilledFPN'):
        module.DistilledFPN  # noqa: B018


def test_it_distils_predictions_where_its_head_has_an_adapter():
    """The same losses as of the detector that is named for them."""
    named = build(distiller_cfg('gfl'))
    ours = build(dict(
        distiller_cfg('gfl'), type='DistilledDetector', detector='GFL'))
    assert total(ours.loss(*batch())) == total(named.loss(*batch()))


@MODELS.register_module(name='AnotherGFL')
class Another(GFL):
    """A project's own."""


def make(name):
    """A class of that name in a registry of a scope of its own."""
    scope = Registry(f'models of {name}', parent=MODELS, scope=name)
    return scope, scope.register_module(name='GFL', module=type(
        'GFL', (GFL, ), dict(__module__=__name__, mark=name)))


def test_classes_of_one_name_in_two_scopes_are_two():
    scope, kind = make('elsewhere')
    with DefaultScope.overwrite_default_scope('elsewhere'):
        ours = build(cfg_of())
    theirs = build(cfg_of())
    assert ours.mark == 'elsewhere' and not hasattr(theirs, 'mark')
    assert type(ours) is distilled_class(kind) is not type(theirs)
    module = import_module(type(ours).__module__)
    for one in (type(ours), type(theirs)):
        assert getattr(module, one.__qualname__) is one
    by_scope = build(cfg_of('elsewhere.GFL'))
    assert type(by_scope) is type(ours)


@pytest.mark.parametrize('detector', ['GFL', Another])
def test_it_is_pickled_for_another_process(detector, tmp_path):
    model = build(cfg_of(detector))
    losses = total(model.loss(*batch()))
    again = pickle.loads(pickle.dumps(model))
    assert type(again) is type(model)
    assert total(again.loss(*batch())) == losses
    if detector != 'GFL':
        return
    torch.save(model, tmp_path / 'model.pth')
    code = ('import sys, torch, crosskd\n'
            'm = torch.load(sys.argv[1], weights_only=False)\n'
            'print(type(m).__name__, len(m.state_dict()))')
    done = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path / 'model.pth')],
        capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == [
        f'DistilledGFL {len(model.state_dict())}'], done.stderr


def test_copies_and_averages_share_the_teacher_and_have_the_class():
    stage = dict(type='FeatureDistiller', student='backbone.layer3',
                 teacher='backbone.layer3', **PKD)  # with a channel adapter
    model = build(cfg_of(kd=dict(distillers=[stage]), width=32))
    assert model.pair.adapters
    copied = copy.deepcopy(model)
    average = ExponentialMovingAverage(model)
    average.update_parameters(model)
    for one in (copied, average.module):
        assert type(one) is type(model)
        assert one.teacher.detector is model.teacher.detector
        assert set(dict(one.named_parameters())) == set(
            dict(model.named_parameters()))
    assert total(copied.loss(*batch())) == total(model.loss(*batch()))


def test_a_dense_pair_is_copied_without_the_teachers_head():
    model = build(dict(cfg_of(kd=kd_cfg('gfl'))))
    teacher = model.pair.teacher
    assert teacher is model.teacher.head
    copied = copy.deepcopy(model)
    assert not hasattr(copied.pair, 'teacher')
    assert model.pair.teacher is teacher
    assert total(copied.loss(*batch())) == total(model.loss(*batch()))


@pytest.mark.parametrize('change, words', [
    (dict(detector='FasterRCN'),
     "no detector is registered under that name.*'FasterRCNN'"),
    (dict(detector='FPN'), 'is not an mmdet detector'),
    (dict(detector='CrossKDGFL'), 'CrossKDGFL is already a distilled'),
    (dict(detector=3), "such as 'FasterRCNN', found 3"),
    (dict(detector=None), 'model.detector: expected .* found None'),
    (dict(detector=dict(type='GFL')), r'found \{'),
    (dict(kd_cfg=None), 'kd_cfg must be a dict'),
    (dict(kd_cfg=dict(PKD, loss_fet_kd=3)), "unknown key 'loss_fet_kd'")])
def test_what_cannot_be_built_is_one_error(change, words):
    with pytest.raises(ConfigError, match=words):
        build(dict(cfg_of(), **change))
