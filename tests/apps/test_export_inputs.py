"""What an ONNX file says of its images, and who obeys it."""
import importlib.util
import json
import sys
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from helpers import PREPROCESSOR, build, plain_cfg
from mmcv.transforms import BaseTransform
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose
from onnx_students import needs_onnx, of_two_levels
from torch import nn

from conftest import REPO
from crosskd.apps.export.describing import describe
from crosskd.apps.export.onnx import TOLERANCE, write_onnx
from crosskd.taps.images import input_channels

READ = dict(type='LoadImageFromFile')
BOXES = dict(type='LoadAnnotations', with_bbox=True)
PACK = dict(type='PackDetInputs', meta_keys=('img_shape', 'scale_factor'))
RATIO = dict(type='Resize', scale=(100, 60), keep_ratio=True)


@TRANSFORMS.register_module(force=True)
class Inverts(BaseTransform):
    """A transform of a project's own."""

    def transform(self, results):
        results['img'] = 255 - results['img']
        return results


@MODELS.register_module(force=True)
class OneMap(nn.Module):
    """Two maps of strides 8 and 16 from images of some channels."""

    def __init__(self, channels, stem=nn.Identity, refuses=False):
        super().__init__()
        self.stem, self.refuses = stem(), refuses
        self.channels = channels
        self.first = nn.Conv2d(channels, 8, 3, 8, 1)
        self.second = nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, x):
        assert not self.refuses or x.shape[1] == self.channels
        x = self.first(self.stem(x)).relu()
        return x, self.second(x).relu()


def detector(**backbone):
    cfg = of_two_levels(plain_cfg('gfl'))
    preprocessor = backbone.pop('preprocessor', dict(
        type='DetDataPreprocessor', pad_size_divisor=32))
    cfg.update(backbone=dict(type='OneMap', **backbone), neck=None,
               data_preprocessor=preprocessor)
    return build(cfg).eval()


def means(count):
    """A detector that refuses other images early, and has means."""
    found = detector(channels=count, refuses=True)
    found.data_preprocessor.mean = torch.zeros(count, 1, 1)
    return found


@pytest.mark.parametrize('made, channels', [
    (lambda: detector(channels=3), 3), (lambda: detector(channels=1), 1),
    (lambda: detector(channels=5), 5),
    (lambda: detector(channels=8, stem=lambda: nn.PixelUnshuffle(2)), 2),
    (lambda: detector(channels=2, stem=lambda: nn.BatchNorm2d(2)), 2),
    (lambda: means(4), 4),
    # one mean is for any number of channels
    (lambda: build(dict(plain_cfg('gfl'), data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[1], std=[1]))), 3)])
def test_channels_are_what_the_first_layer_asks_for(made, channels):
    model = made()
    before = {key: x.clone() for key, x in model.state_dict().items()}
    assert input_channels(model) == channels
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(x, before[key])
               for key, x in model.state_dict().items())


def plain(pipeline):
    return Config(dict(default_scope='mmdet', test_dataloader=dict(
        dataset=dict(type='CocoDataset', pipeline=pipeline))))


@pytest.fixture
def page():
    """The page's script, which needs onnxruntime only to run a model."""
    spec = importlib.util.spec_from_file_location(
        'detect', REPO / 'docs/export/detect.py')
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'onnxruntime', ModuleType('onnxruntime'))
        spec.loader.exec_module(module)
    return module


NO_MEAN = dict(type='DetDataPreprocessor', pad_size_divisor=32, pad_value=114)
GREY = dict(type='DetDataPreprocessor', mean=[100.], std=[50.],
            pad_size_divisor=64)


@pytest.mark.parametrize('steps', [
    [RATIO], [dict(RATIO, keep_ratio=False)], [],
    [dict(type='Resize', scale=64, keep_ratio=False)],
    [dict(type='Resize', scale_factor=0.7, keep_ratio=True)],
    [dict(type='Resize', scale_factor=(0.5, 2.0))],
    [RATIO, dict(type='Pad', size=(128, 96),
                 pad_val=dict(img=(114, 114, 114)))],
    [RATIO, dict(type='Pad', size_divisor=48)],
    [dict(type='Pad', pad_to_square=True, pad_val=7)],
], ids=str)
@pytest.mark.parametrize('preprocessor, read', [
    (PREPROCESSOR, READ), (NO_MEAN, READ),
    (GREY, dict(READ, color_type='grayscale'))], ids=['', 'no mean', 'grey'])
def test_the_pages_script_prepares_images_as_mmdet(tmp_path, page, steps,
                                                   preprocessor, read):
    """Pixel by pixel, scale and borders too."""
    if preprocessor is GREY:  # one value for one channel
        steps = [dict(s, pad_val=9) if 'pad_val' in s else s for s in steps]
    file = str(tmp_path / 'x.png')
    cv2.imwrite(file, np.random.default_rng(0).integers(
        0, 256, (47, 83, 3)).astype(np.uint8))
    pipeline = [read, *steps, PACK]
    model = detector(channels=3, preprocessor=preprocessor)
    about = {key: json.loads(text) for key, text in describe(
        model, plain([read, *steps, BOXES, PACK]), None).items()}
    assert 'not_described' not in about
    packed = Compose(pipeline)(dict(img_path=file, img_id=0))
    sample = packed['data_samples']
    expected = model.data_preprocessor(dict(
        inputs=[packed['inputs']], data_samples=[sample]))['inputs']
    image = cv2.imread(file, page.READ[about['color_type']])
    found, factor, inside = page.prepare(image, about)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5,
                               rtol=0)
    assert tuple(inside) == tuple(sample.img_shape[1::-1])
    assert tuple(factor) == pytest.approx(sample.get('scale_factor', (1, 1)))


@pytest.mark.parametrize('step', [
    dict(type='Inverts'), dict(type='Gone'), dict(type='FixScaleResize',
                                                  scale=(99, 60)),
    dict(RATIO, interpolation='bicubic'), dict(RATIO, backend='pillow'),
    dict(type='Normalize', mean=[0], std=[1]),
    dict(type='Pad', size_divisor=32, padding_mode='edge'),
    dict(type='CenterCrop', crop_size=(32, 32))], ids=lambda s: s['type'])
def test_what_the_file_does_not_say_is_named(step):
    about = describe(detector(channels=3), plain([READ, step, BOXES, PACK]),
                     None)
    assert json.loads(about['not_described']) == [step['type']]


def test_a_second_resize_is_named():
    about = describe(detector(channels=3), plain([READ, RATIO, dict(
        RATIO, scale=(9, 9)), PACK]), None)
    assert json.loads(about['scale']) == [100, 60]
    assert json.loads(about['not_described']) == ['Resize']


def test_a_config_without_test_data_says_nothing_of_it():
    about = describe(detector(channels=3), Config(dict(
        default_scope='mmdet')), ('a', ))
    assert about['classes'] == '["a"]' and 'scale' not in about


def test_an_image_is_made_to_fit_the_only_size(page):
    about = dict(scale=[100, 60], keep_ratio=True)
    image = np.zeros((47, 83, 3), np.uint8)
    for size, new in (((64, 128), (57, 100)), ((64, 64), (36, 64)),
                      ((32, 128), (32, 56))):
        found, factor, inside = page.prepare(image, about, size)
        assert found.shape == (1, 3, *size)
        assert inside == new[::-1]
        assert factor.tolist() == [new[1] / 83, new[0] / 47]
    with pytest.raises(ValueError, match='does not fit into 64 x 64'):
        page.prepare(image, dict(about, pad=dict(
            size=[96, 96], divisor=None, square=False, value=0)), (64, 64))


@needs_onnx
@pytest.mark.parametrize('channels, size', [
    pytest.param(2, None, marks=pytest.mark.slow), (5, (64, 96))])
def test_onnx_of_images_of_other_channels(tmp_path, page, channels, size):
    """Of any size, or of one."""
    import onnxruntime
    file = tmp_path / 'x.onnx'
    model = detector(channels=channels)
    assert 0 < write_onnx(model, file, None, size) <= TOLERANCE
    taken, = onnxruntime.InferenceSession(
        str(file), providers=['CPUExecutionProvider']).get_inputs()
    assert taken.shape[1] == channels
    assert page.size_of(taken) == (list(size) if size else None)


@needs_onnx
@pytest.mark.slow
def test_onnx_of_swin_has_one_size(tmp_path):
    cfg = of_two_levels(plain_cfg('gfl'))
    cfg.update(backbone=dict(
        type='SwinTransformer', embed_dims=8, depths=(2, 1),
        num_heads=(1, 1), patch_size=8, strides=(8, 2), out_indices=(0, 1)))
    cfg['neck'].update(in_channels=[8, 16], start_level=0, num_outs=2)
    model = build(cfg).eval()
    assert write_onnx(model, tmp_path / 'x.onnx', None, (64, 96)) <= TOLERANCE


@needs_onnx
@pytest.mark.slow
def test_what_exports_for_one_size_alone_is_told_so(tmp_path, monkeypatch):
    """Swin's maps differ, if it is asked for any size."""
    monkeypatch.setattr('crosskd.apps.export.onnx._difference', lambda *_: 1.0)
    model = detector(channels=3)
    with pytest.raises(ValueError, match='differ .*Try --onnx-size H W: '):
        write_onnx(model, tmp_path / 'x.onnx')
    with pytest.raises(ValueError, match='expected at most 1e-05$'):
        write_onnx(model, tmp_path / 'x.onnx', None, (64, 64))


@pytest.mark.parametrize('size', [(0, 64), (64, 70), (-32, 32)])
def test_sizes_are_multiples_of_32(tmp_path, size):
    with pytest.raises(ValueError, match='--onnx-size: expected height and '
                       'width as multiples of 32, found'):
        write_onnx(detector(channels=3), tmp_path / 'x.onnx', None, size)
