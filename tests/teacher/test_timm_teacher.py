"""Models of timm as teachers."""
import copy
import pickle
import re
import sys

import pytest
import torch
from any_detectors import inputs as mm_inputs
from experiments import experiment, model_cfg, same_weights, write
from feature_teachers import need_timm, student
from helpers import batch, build, plain_cfg, seeded
from mmdet.registry import MODELS
from tool_server import run as tool
from torch.testing import assert_close

from crosskd.configs import plain_model
from crosskd.teacher import TimmTeacher

timm = need_timm()
VIT = dict(type='TimmTeacher', name='vit_tiny_patch16_224', depth=2,
           img_size=64, embed_dim=24)
VIT14 = dict(type='TimmTeacher', name='vit_small_patch14_reg4_dinov2',
             depth=2, img_size=70, embed_dim=24, out_indices=(0, 1))
CONVNET = dict(type='TimmTeacher', name='test_resnet', out_indices=(2, 3, 4))
TEACHERS = dict(vit=VIT, vit14=VIT14, convnet=CONVNET)
IMAGENET = tuple([255 * x for x in values] for values in (
    (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)))  # in BGR
HALF = [127.5] * 3, [127.5] * 3


def taught(model, inputs, samples):
    """The maps that the teacher makes of a student's batch."""
    found, = model.teacher(inputs, samples).features.values()
    return found


# -- running it ---------------------------------------------------------------


@pytest.mark.parametrize('kind', ['gfl', 'faster'])
@pytest.mark.parametrize('teacher', TEACHERS)
def test_it_teaches_a_detector(kind, teacher):
    cfg = student(kind, TEACHERS[teacher])
    model = build(cfg)
    data = mm_inputs(model) if kind == 'faster' else dict(zip(
        ('inputs', 'data_samples'), batch()))
    kd = seeded(model, **data, mode='loss')['loss_feat_kd']
    assert len(kd) == len(TEACHERS[teacher].get('out_indices', [-1]))
    assert all(0 < float(x.detach()) < 2 for x in kd)
    sum(kd).backward()
    assert any(p.grad is not None and p.grad.any()
               for p in model.neck.parameters())
    assert model.state_dict().keys() == build(plain_model(
        cfg)).state_dict().keys()


@pytest.mark.parametrize('teacher, norm', [(VIT14, IMAGENET),
                                           (CONVNET, HALF)])
def test_its_maps_are_those_of_the_model_for_normalised_pixels(teacher, norm):
    """The student's images are in BGR, with means and deviations of its own.
    """
    cfg = student('gfl', teacher)
    cfg['data_preprocessor'] = dict(
        type='DetDataPreprocessor', mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    model = build(cfg)
    pixels = torch.randint(256, (2, 3, 70, 84)).float()  # BGR
    mean, std = (torch.tensor(x).view(1, 3, 1, 1)
                 for x in (cfg['data_preprocessor'][k] for k in (
                     'mean', 'std')))
    _, samples = batch(size=(70, 84))
    found = taught(model, (pixels - mean) / std, samples)
    theirs = copy.deepcopy(model.teacher.detector.model)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in norm)
    with torch.no_grad():
        expected = theirs.forward_intermediates(
            ((pixels - mean) / std).flip(1), norm=True,
            indices=list(teacher['out_indices']), intermediates_only=True)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_transformers_maps_are_its_last_tokens_without_the_first_ones():
    model = build(student('gfl', dict(VIT14, out_indices=(-1, ))))
    theirs = copy.deepcopy(model.teacher.detector.model)
    images = torch.randn(2, 3, 28, 42)
    found, = model.teacher.detector.extract_feat(images)
    with torch.no_grad():
        tokens = theirs.forward_features(images)
    assert tokens.shape[1] == 5 + 2 * 3  # a class token, four registers
    assert_close(found, tokens[:, 5:].transpose(1, 2).unflatten(2, (2, 3)))


def test_images_are_resized_to_multiples_of_its_patch():
    detector = MODELS.build(VIT14).eval()
    with torch.no_grad():
        assert [x.shape for x in detector.extract_feat(
            torch.zeros(1, 3, 64, 96))] == [(1, 24, 5, 7)] * 2


def test_it_has_timms_normalisation_or_the_configs():
    found = MODELS.build(VIT14).data_preprocessor
    assert_close(found.mean.flatten().flip(0), torch.tensor(IMAGENET[0]))
    assert_close(found.std.flatten().flip(0), torch.tensor(IMAGENET[1]))
    assert found._channel_conversion
    found = MODELS.build(VIT).data_preprocessor  # another in timm
    assert_close(found.mean.flatten(), torch.full((3, ), 127.5))
    own = dict(type='DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3)
    model = build(student('gfl', dict(VIT, data_preprocessor=own)))
    assert_close(model.teacher.detector.data_preprocessor.mean.flatten(),
                 torch.ones(3))


def test_it_runs_in_autocasts_type():
    model = build(student('gfl', VIT))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(*batch())
    detector = model.teacher.detector
    assert {p.dtype for p in detector.parameters()} == {torch.bfloat16}
    assert losses['loss_feat_kd'][0].dtype == torch.float32


def test_it_is_copied_and_pickled():
    model = build(student('gfl', VIT14))
    expected = taught(model, *batch())
    for found in (copy.deepcopy(model.teacher.detector),
                  pickle.loads(pickle.dumps(model.teacher.detector))):
        model.teacher._detector = found
        assert_close(taught(model, *batch()), expected)


def test_several_blocks_teach_several_levels(caplog):
    model = build(student('gfl', dict(VIT, depth=4, out_indices=(3, 1, -4))))
    assert model.pair.matched == dict(features=[(0, 0), (1, 1), (2, 2)])
    assert model.teacher.detector.title == 'vit_tiny_patch16_224'


# -- weights ------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    """A file with other random weights of that transformer."""
    torch.manual_seed(5)
    cfg = {k: v for k, v in VIT.items() if k not in ('type', 'name')}
    model = timm.create_model(VIT['name'], **cfg)
    torch.save(model.state_dict(), tmp_path / 'vit.pth')
    return tmp_path / 'vit.pth'


def has(model, file):
    state = torch.load(file)
    own = model.teacher.detector.model.state_dict()
    return own.keys() == state.keys() and all(
        torch.equal(own[key], state[key]) for key in own)


def test_a_checkpoint_has_timms_names(weights):
    assert has(build(student('gfl', VIT, str(weights))), weights)


def test_weights_that_do_not_fit_are_an_error(weights):
    with pytest.raises(ValueError, match=r'teacher_ckpt=.*does not fit the '
                       r'model of teacher_config \(VisionTransformer\): .*'
                       r'missing: blocks.2'):
        build(student('gfl', dict(VIT, depth=3), str(weights)))


def test_timm_may_load_its_own_weights(weights):
    """From a file here, in place of a hub."""
    cfg = dict(VIT, pretrained=True, pretrained_cfg_overlay=dict(
        file=str(weights), custom_load=False))
    model = build(student('gfl', cfg, None))
    assert has(model, weights)
    with pytest.raises(ValueError, match='teacher_ckpt=.*vit.pth. and teacher_'
                       'config.pretrained=True both tell.*expected one'):
        build(student('gfl', cfg, str(weights)))
    assert not has(build(student('gfl', cfg, 'random')), weights)
    weights.unlink()
    with pytest.raises(ValueError, match='teacher_config: TimmTeacher: timm '
                       "cannot make 'vit_.*FileNotFoundError.*name that in "
                       'teacher_ckpt instead'):
        build(student('gfl', cfg, None))


# -- errors -------------------------------------------------------------------


@pytest.mark.parametrize('change, kind, words', [
    (dict(name='vit_tiny_patch16_244'), ValueError,
     r"teacher_config: TimmTeacher: name='vit_tiny_patch16_244': timm \S+ has "
     "no such model; did you mean 'vit_tiny_patch16_224'"),
    (dict(name='vit_tiny_patch16_224.nowhere'), ValueError,
     "teacher_config: TimmTeacher: timm cannot make .*Invalid pretrained tag"),
    (dict(name=3), ValueError, 'teacher_config: TimmTeacher: name must be'),
    (dict(out_indices=(0, 2)), ValueError,
     r'TimmTeacher: out_indices=\(0, 2\): vit_tiny_patch16_224 '
     'has 2 feature maps; expected different numbers from 0 to 1'),
    (dict(out_indices=(1, -1)), ValueError, 'expected different numbers'),
    (dict(out_indices=(-3, )), ValueError, 'has 2 feature maps'),
    (dict(out_indices=()), ValueError, 'must be a tuple of integers'),
    (dict(out_indices=1), ValueError, 'must be a tuple of integers, found 1'),
    (dict(dephts=3), ValueError,
     "timm cannot make .*unexpected keyword argument 'dephts'"),
    (dict(dynamic_img_size=False), ValueError, 'teacher_config.model: cannot '
     "measure its features: a blank image of 1024×1024 pixels fails with .*"
     "doesn't match model"),
])
def test_what_cannot_be_made_is_one_error(change, kind, words):
    with pytest.raises(kind, match=words):
        build(student('gfl', VIT | change))


def test_weights_have_to_be_named():
    with pytest.raises(ValueError, match='teacher_ckpt=None: a teacher needs'):
        build(student('gfl', VIT, None))


def test_pretrained_names_no_file():
    with pytest.raises(ValueError, match='teacher_config: TimmTeacher: pretrai'
                       "ned must be True or False, found 'dinov2.pth'; teacher"
                       '_ckpt names a file'):
        build(student('gfl', dict(VIT, pretrained='dinov2.pth'), None))


def test_timm_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ValueError, match='TimmTeacher needs timm, which cannot'
                       " be imported .*pip install timm, or.*extra 'timm'"):
        build(student('gfl', VIT))
    # nobody else needs it
    build(student('gfl', plain_cfg('gfl')))


def test_a_model_without_feature_maps_is_refused(monkeypatch):
    monkeypatch.delattr(timm.models.VisionTransformer, 'forward_intermediates')
    with pytest.raises(ValueError, match='expected a model that returns '
                       'feature maps'):
        MODELS.build(VIT)


def test_the_class_is_exported():
    assert MODELS.get('TimmTeacher') is TimmTeacher


# -- a training ---------------------------------------------------------------


@pytest.mark.slow
def test_trained_stopped_resumed_and_tested(project, tmp_path):
    cfg = student('gfl', VIT14)
    cfg['bbox_head']['num_classes'] = 5
    write(project / 'timm_kd.py', dict(
        experiment(cfg), runner_type='DistillationRunner'))
    write(project / 'timm_plain.py', experiment(model_cfg(plain_cfg('gfl'))))
    run = ('train.py', 'timm_kd.py', '--work-dir')
    out = tool(*run, tmp_path / 'whole', cwd=project)
    assert 'vit_small_patch14_reg4_dinov2 teaches GFLHead' in out
    assert re.search(r'loss_feat_kd: [\d.]+', out)
    tool(*run, tmp_path / 'parts', '--cfg-options', 'train_cfg.max_epochs=1',
         cwd=project)
    tool(*run, tmp_path / 'parts', '--resume', cwd=project)
    whole, parts = (tmp_path / name / 'epoch_2.pth'
                    for name in ('whole', 'parts'))
    assert same_weights(whole, parts)
    out = tool('test.py', 'timm_plain.py', whole, cwd=project)
    assert 'coco/bbox_mAP' in out
    assert 'unexpected key' not in out and 'missing keys' not in out
