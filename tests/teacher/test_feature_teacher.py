"""Teachers that are no detectors: any registered module."""
import copy
import pickle

import pytest
import torch
from any_detectors import inputs as mm_inputs
from feature_teachers import (
    COSINE,
    MEAN,
    PREFIX,
    STD,
    PatchTokens,
    student,
)
from helpers import batch, build, distiller_cfg, lively, seeded
from mmdet.models.backbones import ResNet
from mmdet.registry import MODELS
from torch import nn
from torch.nn.functional import interpolate
from torch.testing import assert_close

from crosskd.apps.visualization.views import look
from crosskd.configs import plain_model
from crosskd.detectors.summary import summary
from crosskd.losses import cosine_feature_loss
from crosskd.teacher.maps import Maps

RESNET = dict(type='ResNet', depth=18, base_channels=8)
NORM = dict(type='DetDataPreprocessor', mean=MEAN, std=STD, bgr_to_rgb=True)
TOKENS = dict(type='PatchTokens')


def taught(model, inputs, samples):
    """The maps that the teacher makes of a student's batch."""
    found, = model.teacher(inputs, samples).features.values()
    return found


def raw(inputs, preprocessor):
    """The pixels of a student's batch, in BGR."""
    pixels = inputs * preprocessor.std + preprocessor.mean
    return pixels.flip(1) if preprocessor._channel_conversion else pixels


# -- running it ---------------------------------------------------------------


@pytest.mark.parametrize('kind', ['gfl', 'faster'])
@pytest.mark.parametrize('teacher', [RESNET, TOKENS, dict(model=RESNET)])
def test_a_module_teaches_a_detector(kind, teacher):
    model = build(student(kind, teacher))
    data = mm_inputs(model) if kind == 'faster' else dict(zip(
        ('inputs', 'data_samples'), batch()))
    losses = seeded(model, **data, mode='loss')
    kd = losses['loss_feat_kd']
    assert kd and all(0 < float(x) < 2 for x in kd)
    sum(kd).backward()
    assert any(p.grad is not None and p.grad.any()
               for p in model.neck.parameters())
    assert not any(p.requires_grad for p in
                   model.teacher.detector.parameters())
    plain = build(plain_model(student(kind, teacher)))
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_its_maps_are_those_of_the_module_for_its_own_pixels():
    model = build(student('gfl', dict(RESNET, data_preprocessor=NORM)))
    lively(model.teacher.detector)
    inputs, samples = batch()
    teacher = model.teacher.detector.model
    assert type(teacher) is ResNet
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
    pixels = (raw(inputs, model.data_preprocessor).flip(1) - mean) / std
    with torch.no_grad():
        expected = copy.deepcopy(teacher)(pixels)
    for ours, theirs in zip(taught(model, inputs, samples), expected,
                            strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_config_file_may_have_it(tmp_path):
    file = tmp_path / 'teacher.py'
    file.write_text(f'model = {RESNET}\ndata_preprocessor = {NORM}\n')
    model = build(student('gfl', str(file)))
    assert type(model.teacher.detector.model) is ResNet
    assert_close(model.teacher.detector.data_preprocessor.mean.flatten(),
                 torch.tensor(MEAN))


def test_it_says_what_it_does():
    model = build(student('gfl', TOKENS))
    assert 'PatchTokens teaches GFLHead (ResNet-18)' in summary(model)
    assert ("features: the teacher is no detector; its level 0 of stride "
            "14.22 teaches the student's of stride 16") in model.pair.notes
    assert ('only the student has levels of stride 8, 32; they are not '
            'distilled') in model.pair.notes


def test_it_runs_in_autocasts_type():
    model = build(student('gfl', TOKENS))
    inputs, samples = batch()
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(inputs, samples)
    project = model.teacher.detector.model.project
    assert project.weight.dtype == torch.bfloat16
    assert all(x.dtype == torch.float32 for x in losses['loss_feat_kd'])


def test_it_is_copied_and_pickled():
    model = build(student('gfl', TOKENS))
    inputs, samples = batch()
    expected = taught(model, inputs, samples)
    assert_close(taught(copy.deepcopy(model), inputs, samples), expected)
    own = copy.deepcopy(model.teacher.detector)
    unpickled = pickle.loads(pickle.dumps(model.teacher.detector))
    for found in (own, unpickled):
        model.teacher._detector = found
        assert_close(taught(model, inputs, samples), expected)


def test_a_picture_shows_it_without_boxes():
    model = build(student('gfl', TOKENS))
    inputs, (sample, ) = batch(boxes=(2, ))
    item = dict(inputs=torch.randint(255, (3, 64, 96), dtype=torch.uint8),
                data_samples=sample)
    view = look(model, item, [], ['a', 'b', 'c'])
    assert view is not None


# -- maps ---------------------------------------------------------------------


@pytest.mark.parametrize('size, grid', [
    ((28, 42), (2, 3)), ((30, 36), (2, 3)), ((64, 96), (5, 7)),
    ((5, 15), (1, 1))])
def test_images_are_resized_to_multiples_of_the_patch(size, grid):
    tokens, images = PatchTokens(), torch.randn(2, 3, *size)
    found, = Maps(tokens)(images)
    resized = interpolate(images, tuple(14 * n for n in grid),
                          mode='bilinear', align_corners=False)
    assert_close(found, tokens.project(resized))
    assert found.shape[2:] == grid
    if size == (28, 42):
        assert torch.equal(resized, images)


class Gives(nn.Module):
    """Gives what it was made with."""

    def __init__(self, value, **kwargs):
        super().__init__()
        self.value = value
        vars(self).update(kwargs)

    def forward(self, images):
        return self.value


def test_tokens_before_those_of_the_patches_are_dropped():
    tokens = torch.arange(2.0 * (PREFIX + 6) * 3).view(2, PREFIX + 6, 3)
    found, = Maps(Gives(tokens, patch_size=(8, 4)))(torch.zeros(2, 3, 16, 12))
    assert found.shape == (2, 3, 2, 3)
    for row in range(2):
        for column in range(3):
            assert torch.equal(found[:, :, row, column],
                               tokens[:, PREFIX + 3 * row + column])


def test_maps_of_lists_and_dicts_are_levels():
    maps = [torch.zeros(1, c, 2, 2) for c in (3, 4, 5)]
    value = dict(a=maps[0], b=(maps[1], [maps[2]]), c=None, d=torch.zeros(2))
    found = Maps(Gives(value))(torch.zeros(1, 3, 9, 9))
    assert all(x is y for x, y in zip(found, maps, strict=True))


def test_the_patch_may_be_that_of_patch_embed():
    inside = nn.Module()
    inside.patch_size = 8
    tokens = Gives(torch.zeros(1, 4, 3), patch_embed=inside)
    assert Maps(tokens)(torch.zeros(1, 3, 16, 16))[0].shape == (1, 3, 2, 2)


# -- the target ---------------------------------------------------------------


def test_the_target_is_resized_to_the_students_map():
    model = build(student('gfl', TOKENS))
    inputs, samples = batch()
    target, = taught(model, inputs, samples)
    assert target.shape[2:] == (5, 7)
    _, paired = model.paired(inputs, samples)
    (ours, theirs), = paired.features()
    assert ours.shape[2:] == theirs.shape[2:] == (4, 6)
    assert_close(theirs, interpolate(target, (4, 6), mode='bilinear',
                                     align_corners=False))
    loss, = model.loss(inputs, samples)['loss_feat_kd']
    assert_close(loss, cosine_feature_loss(ours, theirs))


def test_that_of_a_detector_is_not():
    model = build(distiller_cfg('gfl', loss_feat_kd=COSINE))
    assert not any('no detector' in note for note in model.pair.notes)
    ours, theirs = ([torch.zeros(1, 8, *size)] * 3
                    for size in ((4, 6), (5, 7)))
    for a, b in model.pair.features('features', ours, theirs):
        assert a.shape[2:] == (5, 7) and b is theirs[0]


# -- weights ------------------------------------------------------------------


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_weights_are_loaded_under_the_modules_own_names(tmp_path, prefix):
    torch.manual_seed(5)
    saved = MODELS.build(dict(RESNET))
    file = tmp_path / 'resnet.pth'
    torch.save({'state_dict': {f'{prefix}{k}': v for k, v in
                               saved.state_dict().items()}}, file)
    model = build(student('gfl', RESNET, str(file)))
    for key, value in model.teacher.detector.model.state_dict().items():
        assert torch.equal(value, saved.state_dict()[key]), key


def test_missing_weights_are_an_error(tmp_path):
    state = MODELS.build(dict(RESNET)).state_dict()
    del state['layer1.0.conv1.weight']
    torch.save(state, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'does not fit the model of teacher_'
                       r'config \(ResNet\): 1 missing: layer1.0.conv1'):
        build(student('gfl', RESNET, str(tmp_path / 'x.pth')))


# -- errors -------------------------------------------------------------------


def without_patch():
    model = PatchTokens()
    del model.patch_size
    return model


@MODELS.register_module()
class TooFew(PatchTokens):
    def forward(self, images):
        return super().forward(images)[:, :3]


@pytest.mark.parametrize('teacher, ckpt, kind, words', [
    (RESNET, None, ValueError, "teacher_ckpt=None: a teacher needs weights"),
    (dict(type='ResNeet'), 'random', ValueError,
     "teacher_config: .*'ResNeet' is not registered.*mean 'ResNet'"),
    (dict(RESNET, dephts=3), 'random', ValueError,
     "teacher_config: model.backbone: unknown key 'dephts', ResNet takes"),
    (dict(type='L1Loss'), 'random', ValueError,
     'teacher_config: L1Loss has no parameters'),
    (dict(type='TooFew'), 'random', ValueError,
     r'teacher_config.model: TooFew returns 3 tokens; expected at least 324 '
     r'\(18×18'),
    (dict(type='ResNet', depth=18, out_indices=(0, )), 'gone.pth',
     FileNotFoundError, "teacher_ckpt='gone.pth'"),
])
def test_what_cannot_teach_is_one_error(teacher, ckpt, kind, words):
    with pytest.raises(kind, match=words):
        build(student('gfl', teacher, ckpt))


def test_tokens_need_a_patch():
    with pytest.raises(ValueError, match='PatchTokens returns tokens of shape'
                       r" .*needs an attribute 'patch_size'"):
        Maps(without_patch())(torch.zeros(1, 3, 28, 28))


def test_it_has_no_predictions():
    cfg = distiller_cfg('gfl')
    cfg['teacher_config'] = RESNET
    with pytest.raises(TypeError, match='ResNet is not an mmdet detector, so '
                       'it has no predictions; distil its features'):
        build(cfg)
    detector = build(student('gfl', RESNET)).teacher.detector
    with pytest.raises(TypeError, match='ResNet is no detector'):
        detector.loss(*batch())
    inputs, samples = batch()
    assert detector.predict(inputs, samples) is samples


def test_a_detector_may_be_named_without_model_around_it():
    cfg = distiller_cfg('gfl')
    inside, around = build(cfg), copy.deepcopy(cfg)
    around['teacher_config'] = cfg['teacher_config']['model']
    other = build(around)
    inputs, samples = batch()
    for a, b in zip(inside.loss(inputs, samples).values(),
                    other.loss(inputs, samples).values()):
        assert_close(a, b, rtol=0, atol=0)
