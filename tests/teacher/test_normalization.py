"""The teacher's input is what its own config says, wherever that stands."""
import copy
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from experiments import CLASSES, experiment, model_cfg
from helpers import batch, build, distiller_cfg, plain_cfg
from mmdet.datasets import CocoDataset
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose, ConcatDataset, RepeatDataset
from torch.testing import assert_close

from crosskd.engine.runner import DistillationRunner
from crosskd.engine.trial import try_pair
from crosskd.teacher import pipelines, renormalize
from crosskd.teacher.model_config import model_config
from crosskd.teacher.pipelines import normalized_by

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
NORM = dict(mean=MEAN, std=STD)
RGB = dict(NORM, to_rgb=True)
BGR = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.5, 2.0], to_rgb=False)
RAW = dict(type='DetDataPreprocessor', pad_size_divisor=32)
CAFFE = dict(RAW, mean=[103.53, 116.28, 123.675], std=[1.0, 2.0, 3.0],
             pad_value=7)
SWAPS = dict(RAW, bgr_to_rgb=True, pad_value=114)


def normalize(norm):
    return dict(type='Normalize', **norm)


def of_mmdet2(*steps):
    """Pipelines as mmdet 2 wrote them, whose transforms mmdet 3 lacks."""
    steps = [dict(type='RandomFlip', flip_ratio=0.5), *steps,
             dict(type='Pad', size_divisor=32),
             dict(type='DefaultFormatBundle'),
             dict(type='Collect', keys=['img'])]
    test = [dict(type='LoadImageFromFile'), dict(
        type='MultiScaleFlipAug', img_scale=(96, 96), transforms=steps)]
    train = [dict(type='LoadImageFromFile'), *steps]
    return dict(data=dict(
        samples_per_gpu=2, train=dict(type='RepeatDataset', times=2,
                                      dataset=dict(pipeline=train)),
        test=dict(pipeline=test)), img_norm_cfg=dict(RGB))


def teacher_of(preprocessor, **config):
    model = plain_cfg('gfl', 16)
    del model['data_preprocessor']
    if preprocessor is not None:
        model['data_preprocessor'] = preprocessor
    return dict(config, model=model)


@pytest.fixture
def said(monkeypatch):
    lines = []
    for module in (pipelines, renormalize):
        monkeypatch.setattr(module, 'print_log',
                            lambda text, *args: lines.append(text))
    return lines


def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (h, w, 3), dtype=np.uint8)
            for h, w in ((64, 96), (40, 90))]


def through(norm, preprocessor):
    """A batch as mmdet makes it: a pipeline, then a preprocessor."""
    inputs, samples = [], []
    for image in images():
        if norm is not None:
            image = Compose([normalize(norm)])(dict(img=image))['img']
        inputs.append(torch.from_numpy(image.transpose(2, 0, 1).copy()))
        sample = DetDataSample()
        sample.set_metainfo(dict(img_shape=image.shape[:2]))
        samples.append(sample)
    return MODELS.build(preprocessor)(
        dict(inputs=inputs, data_samples=samples))


def seen_by(config, norm, preprocessor):
    """The teacher's input, of a student that normalises like that."""
    cfg = distiller_cfg('gfl')
    cfg.update(teacher_config=config, data_preprocessor=preprocessor)
    model = build(cfg)
    dataset = SimpleNamespace(pipeline=Compose(
        [] if norm is None else [normalize(norm)]))
    model.teacher.look_at_data('train_dataloader.dataset', dataset)
    data = through(norm, preprocessor)
    before = data['inputs'].clone()
    found = model.teacher._renormalized(
        data['inputs'], data['data_samples'], model.data_preprocessor)
    assert torch.equal(data['inputs'], before)
    return found


STUDENTS = dict(
    preprocessor=(None, dict(RAW, **NORM, bgr_to_rgb=True)),
    padded=(None, dict(RAW, **NORM, bgr_to_rgb=True, pad_value=114)),
    pipeline=(RGB, RAW), pipeline_bgr=(BGR, RAW), both=(RGB, CAFFE),
    pipeline_then_swap=(RGB, SWAPS), neither=(None, RAW),
    batch_augments=(None, dict(RAW, **NORM, bgr_to_rgb=True, batch_augments=[
        dict(type='BatchFixedSizePad', size=(64, 128), img_pad_value=50)])))
TEACHERS = dict(
    preprocessor=(None, dict(RAW, **NORM, bgr_to_rgb=True)),
    padded=(None, dict(RAW, **NORM, bgr_to_rgb=True, pad_value=3)),
    caffe=(None, CAFFE), raw=(None, RAW), raw_swapped=(None, SWAPS),
    pipeline=(RGB, None), pipeline_bgr=(BGR, None),
    pipeline_then_swap=(BGR, SWAPS), pipeline_then_pad=(RGB, RAW))


@pytest.mark.parametrize('student', STUDENTS)
@pytest.mark.parametrize('teacher', TEACHERS)
def test_the_teachers_input_is_what_mmdet_makes_of_its_config(
        student, teacher, said):
    """Whoever normalises; padding, too, which is not normalised."""
    norm, preprocessor = TEACHERS[teacher]
    config = teacher_of(preprocessor, **(of_mmdet2(normalize(norm)) if norm
                                         else of_mmdet2()))
    expected = through(norm, preprocessor or RAW)['inputs']
    found = seen_by(config, *STUDENTS[student])
    assert_close(found[..., :expected.size(3)], expected, rtol=1e-4,
                 atol=2e-3)
    assert len(said) == (norm is not None)


@pytest.mark.parametrize('value', [0, 114])
@pytest.mark.parametrize('change', [{}, dict(mean=[1.5, 2.5, 3.5])])
def test_padding_is_the_teachers_value_as_it_is(value, change):
    """mmdet pads what is normalised already."""
    teacher = dict(RAW, **{**NORM, **change}, pad_value=value)
    found = seen_by(teacher_of(teacher), None, dict(RAW, **NORM, pad_value=9))
    assert torch.equal(found[1, :, 40:], torch.full((3, 24, 96), 1. * value))
    assert torch.equal(found[1, :, :40, 90:], torch.full((3, 40, 6),
                                                         1. * value))
    assert (found[1, :, :40, :90] != value).all()


def test_a_preprocessor_beside_the_model_is_the_models(said):
    """As the Runner merges them: what the model itself says comes first."""
    for own, expected in ((None, CAFFE), (SWAPS, SWAPS)):
        config = teacher_of(own, data_preprocessor=CAFFE)
        found = seen_by(config, None, RAW)
        assert_close(found, through(None, expected)['inputs'])


def test_a_teacher_of_another_number_of_channels_is_an_error():
    student, teacher = map(MODELS.build, (RAW, CAFFE))
    with pytest.raises(ValueError, match='normalises 3 channels, but the '
                       "student's images have 2; expected a teacher"):
        renormalize.Renormalization(student, teacher, torch.ones(1, 2, 4, 4))


def test_images_without_padding_are_not_copied_for_it():
    cfg = distiller_cfg('gfl')
    cfg['data_preprocessor']['pad_value'] = 9
    model = build(cfg)
    inputs, samples = batch()
    assert model.teacher._renormalized(
        inputs, samples, model.data_preprocessor) is inputs
    samples[1].set_metainfo(dict(img_shape=(64, 80)))
    padded = model.teacher._renormalized(
        inputs, samples, model.data_preprocessor)
    assert torch.equal(padded[0], inputs[0])
    assert (padded[1, :, :, 80:] == 0).all()


# -- configs of a teacher -----------------------------------------------------


def preprocessor_of(config):
    return model_config(config, 'mmdet').get('data_preprocessor')


@pytest.mark.parametrize('name, config', [
    ('data.test', of_mmdet2(normalize(RGB))),
    ('train_pipeline', dict(train_pipeline=[normalize(RGB)])),
    ('test_pipeline', dict(train_pipeline=[normalize(BGR)],
                           test_pipeline=[normalize(RGB)])),
    ('train_dataloader', dict(test_dataloader=None, train_dataloader=dict(
        dataset=dict(type='MultiImageMixDataset', dataset=dict(pipeline=[
            dict(type='LoadImageFromFile')]), pipeline=[
                dict(type='Mosaic'), dict(type='mmcv.Normalize', **RGB)])))),
    ('test_dataloader', dict(test_dataloader=dict(dataset=dict(pipeline=[
        dict(type='RandomChoice', transforms=[
            [normalize(RGB)], [normalize(RGB), dict(type='Resize')]])])))),
    ('test_dataloader', dict(test_dataloader=dict(dataset=dict(pipeline=[
        dict(type='MultiBranch', sup=[normalize(RGB)])])))),
    ('img_norm_cfg', dict(img_norm_cfg=RGB))])
def test_where_a_teachers_normalisation_is_found(said, name, config):
    found = preprocessor_of(teacher_of(None, **config))
    assert found == dict(type='mmdet.DetDataPreprocessor', bgr_to_rgb=True,
                         mean=pytest.approx(MEAN), std=pytest.approx(STD))
    (line, ) = said
    assert line.startswith(f'teacher_config.{name} normalises (mean=[123.675')


def test_a_config_file_is_read_like_that(tmp_path, said):
    path = tmp_path / 'teacher.py'
    Config(teacher_of(None, **of_mmdet2(normalize(RGB)))).dump(str(path))
    assert preprocessor_of(str(path))['mean'] == pytest.approx(MEAN)


@pytest.mark.parametrize('config', [
    {}, of_mmdet2(), dict(test_pipeline=[dict(type='PackDetInputs')])])
@pytest.mark.parametrize('given', [RAW, dict(RAW, **NORM)])
def test_a_preprocessor_without_a_pipeline_that_normalises_is_kept(
        said, given, config):
    """YOLOX's, which does not normalise, as well."""
    if config or 'mean' in given:
        config = dict(config, img_norm_cfg=dict(BGR))  # that nobody uses
    assert preprocessor_of(teacher_of(dict(given), **config)) == given
    assert said == []


def test_a_teacher_that_says_nothing_sees_what_the_student_sees(said):
    found = seen_by(teacher_of(None), RGB, dict(RAW, pad_value=5))
    assert torch.equal(found, through(RGB, dict(RAW, pad_value=5))['inputs'])
    (line, ) = said
    assert 'no data_preprocessor and no pipeline' in line
    assert 'the same pixels as the student' in line


def test_pipelines_that_do_not_normalise_are_said(said):
    found = seen_by(teacher_of(None, **of_mmdet2()), None, dict(RAW, **NORM))
    assert_close(found, through(None, RAW)['inputs'], rtol=1e-4, atol=2e-3)
    (line, ) = said
    assert 'no Normalize in data.test' in line


@pytest.mark.parametrize('config, words', [
    (teacher_of(dict(RAW, **NORM), **of_mmdet2(normalize(RGB))),
     r'data\.test normalises \(mean=\[123.675.*so does data_preprocessor'),
    (teacher_of(None, test_pipeline=[normalize(RGB), normalize(BGR)]),
     r'test_pipeline normalises images in different ways \(mean='),
    (teacher_of(None, test_pipeline=[dict(type='Normalize', mean=MEAN)]),
     'Normalize.*std'),
    (teacher_of(dict(RAW, mean=MEAN)), 'mean and std should be both')])
def test_what_a_teacher_cannot_mean_is_an_error(config, words):
    cfg = distiller_cfg('gfl')
    cfg['teacher_config'] = config
    with pytest.raises(ValueError, match='teacher_config.*' + words):
        build(cfg)


# -- data of a student --------------------------------------------------------


def data(*steps):
    return SimpleNamespace(pipeline=Compose(list(steps)))


@pytest.mark.parametrize('dataset, found', [
    (None, None), (data(), None), (data(normalize(RGB)), RGB),
    (data(dict(type='RandomApply', transforms=[normalize(RGB)])), RGB),
    (data(dict(type='MultiBranch', branch_field=['a', 'b'],
               a=[normalize(RGB)], b=[normalize(RGB)])), RGB),
    (SimpleNamespace(dataset=data(), pipeline=[*data(
        normalize(BGR)).pipeline.transforms]), BGR),
    (SimpleNamespace(datasets=[data(normalize(BGR))] * 2), BGR)])
def test_what_a_students_pipeline_does_is_found(dataset, found):
    way = normalized_by('key', dataset)
    assert (way is None) == (found is None)
    if found:
        assert list(way.mean) == pytest.approx(found['mean'])
        assert list(way.std) == pytest.approx(found['std'])
        assert way.swapped == found['to_rgb']


def test_data_sets_in_wrappers_are_looked_at(shapes_root):
    one = CocoDataset(
        ann_file=f'{shapes_root}/data/shapes/train.json',
        data_prefix=dict(img='x'), metainfo=dict(classes=CLASSES),
        pipeline=[normalize(RGB)])
    for dataset in (RepeatDataset(one, 2), ConcatDataset([one, one])):
        way = normalized_by('key', dataset)
        assert list(way.mean) == pytest.approx(MEAN)


@pytest.mark.parametrize('others', [[], [normalize(BGR)]])
def test_images_that_are_normalised_in_different_ways_are_an_error(others):
    both = SimpleNamespace(datasets=[data(normalize(RGB)), data(*others)])
    with pytest.raises(ValueError, match='key normalises images in different '
                       'ways .*mean=.*expected the same') as caught:
        normalized_by('key', both)
    assert ('ways (nothing; mean=' in str(caught.value)) == (not others)


def test_the_runner_looks_at_the_data(shapes_root, tmp_path, monkeypatch,
                                      said):
    """A student that normalises in its pipeline, and a teacher that does not
    see its pixels normalised twice."""
    monkeypatch.chdir(shapes_root)
    model = model_cfg(distiller_cfg('gfl'))
    given = model['data_preprocessor']
    model['data_preprocessor'] = dict(RAW)
    cfg = experiment(model, epochs=1)
    for loader in ('train_dataloader', 'val_dataloader'):
        cfg[loader]['dataset']['pipeline'].insert(2, normalize(RGB))
        cfg[loader].update(num_workers=0, persistent_workers=False)
    del cfg['_base_']
    runner = DistillationRunner.from_cfg(Config(dict(
        cfg, work_dir=str(tmp_path), default_scope='mmdet')))
    runner.prepare_training()
    teacher = runner.model.teacher
    batched = next(iter(runner.build_dataloader(runner._train_dataloader)))
    raw = copy.deepcopy(batched)
    way = teacher.before
    mean, std = way.tensors()
    raw['inputs'] = [(x * std + mean).flip(0) for x in batched['inputs']]
    expected = DetDataPreprocessor(
        **{k: v for k, v in given.items() if k != 'type'})(raw)['inputs']
    inputs = runner.model.data_preprocessor(batched)
    found = teacher._renormalized(
        inputs['inputs'], inputs['data_samples'],
        runner.model.data_preprocessor)
    assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert said == []


# -- what the teacher gets ----------------------------------------------------


def looks(pixels, **preprocessor):
    samples = batch()[1]
    renormalize.look_at_pixels(
        pixels, samples, DetDataPreprocessor(**preprocessor))


def normalised(scale=1.0, times=1):
    pixels = torch.from_numpy(np.stack([images()[0]] * 2)).permute(
        0, 3, 1, 2) * scale
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    for _ in range(times):
        pixels = (pixels - mean) / std
    return pixels


@pytest.mark.parametrize('pixels, preprocessor', [
    (normalised(), NORM), (normalised(0.0), NORM), (normalised(0.03), NORM),
    (normalised() * 58 + 120, {}), (normalised(), {}),
    (normalised() * 58 + 120, dict(mean=[0, 0, 0], std=[1, 1, 1])),
    (normalised() * 58, dict(mean=MEAN, std=[1, 1, 1]))])
def test_ordinary_pixels_are_nothing_to_speak_of(said, pixels, preprocessor):
    looks(pixels, **preprocessor)
    assert said == []


def test_padding_of_the_first_image_is_not_looked_at(said):
    pixels, (first, second) = normalised(), batch()[1]
    pixels[0, :, 32:] = 1e5
    first.set_metainfo(dict(img_shape=(32, 96)))
    renormalize.look_at_pixels(
        pixels, [first, second], DetDataPreprocessor(**NORM))
    assert said == []


@pytest.mark.parametrize('pixels, preprocessor, words', [
    (normalised(times=2), NORM, r'values from -2\.\d+ to 2\.\d+ before that'),
    (normalised(1 / 255), NORM, 'to 0.996 before that'),
    (normalised(257.0), NORM, r'to 6.5\de\+04 before that'),
    ((normalised() * 58 + 120) / 0.22, dict(
        mean=[0.48, 0.45, 0.4], std=[0.22] * 3), 'correct mean and std')])
def test_pixels_of_another_scale_are_warned_of(said, pixels, preprocessor,
                                               words):
    looks(pixels, **preprocessor)
    (line, ) = said
    assert line.startswith('teacher_config.model.data_preprocessor')
    assert re.search(words, line), line


SCALED = dict(RAW, bgr_to_rgb=True, mean=[0.485, 0.456, 0.406],
              std=[0.229, 0.224, 0.225])


def test_white_of_a_student_that_scales_is_not_taken_for_a_pixel(said):
    """Its pixels end at 1, or by rounding just above."""
    cfg = distiller_cfg('gfl')
    cfg['data_preprocessor'] = SCALED
    model = build(cfg)
    white, samples = torch.ones(2, 3, 64, 96), batch()[1]
    white[..., ::2] = 0
    mean, std = (torch.tensor(SCALED[k]).view(3, 1, 1)
                 for k in ('mean', 'std'))
    model.teacher._renormalized(
        (white - mean) / std, samples, model.data_preprocessor)
    (line, ) = said
    assert 'to 1 before that' in line


def test_a_run_without_our_runner_is_warned_once(said):
    """Where nobody tells that a pipeline normalises."""
    cfg = distiller_cfg('gfl')
    cfg['data_preprocessor'] = RAW
    model = build(cfg)
    for seed in range(2):
        model.loss(*batch(seed=seed))
    (line, ) = said
    assert 'If the training pipeline normalises' in line


@MODELS.register_module(force=True)
class ScalesFirst(DetDataPreprocessor):
    """A project's, which does more than mean and std say."""

    def forward(self, data, training=False):
        return super().forward(
            dict(data, inputs=[x / 255 for x in data['inputs']]), training)


@MODELS.register_module(force=True)
class Renamed(DetDataPreprocessor):
    """A project's, which does nothing else."""


OTHERS = dict(SCALED, type='ScalesFirst')
FIRST = dict(RAW, **NORM, bgr_to_rgb=True)


@pytest.mark.parametrize('student, teacher, key', [
    (FIRST, OTHERS, 'teacher_config.model.data_preprocessor'),
    (OTHERS, FIRST, 'model.data_preprocessor')])
def test_a_preprocessor_that_does_more_is_warned_of(
        said, student, teacher, key):
    seen_by(teacher_of(teacher), None, student)
    lines = [line for line in said if 'forward' in line]
    (line, ) = lines
    assert line.startswith(f'{key} is a ScalesFirst, which has a forward of ')


@pytest.mark.parametrize('student, teacher', [
    (OTHERS, OTHERS), (OTHERS, dict(type='mmengine.BaseDataPreprocessor')),
    (FIRST, dict(FIRST, type='Renamed')),
    (FIRST, dict(FIRST, type='mmengine.ImgDataPreprocessor'))])
def test_preprocessors_that_do_the_same_are_nothing_to_speak_of(
        said, student, teacher):
    seen_by(teacher_of(teacher), None, student)
    assert said == []


def test_a_std_of_zero_is_an_error():
    with pytest.raises(ValueError, match=r'teacher_config\.model\.data_prepro'
                       r'cessor\.std=\[0\.0, 57\.1.*above 0'):
        seen_by(teacher_of(dict(FIRST, std=[0.0, *STD[1:]])), None, FIRST)


def test_a_trial_with_noise_is_normalised_as_the_pipeline_does(said):
    cfg = distiller_cfg('gfl')
    cfg['data_preprocessor'] = RAW
    model = build(cfg)
    model.teacher.look_at_data('key', data(normalize(RGB)))
    try_pair(model)
    assert said == []
