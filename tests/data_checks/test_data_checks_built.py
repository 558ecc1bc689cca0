"""What mmdet builds and reads: wrappers, other types, images, evaluators."""
import copy
import http.server
import json
import logging
import os
import re
import shutil
import threading
from functools import partial
from types import SimpleNamespace

import cv2
import pytest
import torch
from data_sets import TRAIN, VAL, check, content, loader, saved, voc, warnings
from helpers import build, distiller_cfg
from mmdet.datasets import CocoDataset
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, DefaultScope, Registry
from mmengine.runner import Runner
from PIL import Image
from torch import nn
from unknown_heads import distilled, heads_of, unknown_cfg

from crosskd.data_checks import (
    check_classes,
    check_data,
    check_same_classes,
)

pytestmark = pytest.mark.usefixtures('in_shapes_root')

EMPTY = dict(filter_empty_gt=False)


def wrapped(*inner, way='repeat'):
    """The inner data sets, deep in wrappers of mmengine's and mmdet's."""
    cfg = loader()
    concat = dict(type='ConcatDataset', datasets=list(inner))
    cfg['dataset'] = dict(
        repeat=dict(type='RepeatDataset', times=2, dataset=concat),
        balanced=dict(type='ClassBalancedDataset', oversample_thr=0.1,
                      dataset=inner[-1]),
        mixed=dict(type='MultiImageMixDataset', dataset=concat,
                   pipeline=[]))[way]
    return cfg


def built_loader():
    return Runner.build_dataloader(dict(
        loader(), num_workers=0, persistent_workers=False), seed=0)


@pytest.mark.parametrize('way, at', [
    ('repeat', 'dataset.dataset.datasets[1]'), ('balanced', 'dataset.dataset'),
    ('mixed', 'dataset.dataset.datasets[1]')])
@pytest.mark.parametrize('change, error, words', [
    (dict(ann_file='gone.json'), FileNotFoundError,
     ".ann_file='data/shapes/gone.json': no such file (looked from"),
    (dict(ann_file='zero.json'), ValueError,
     ".ann_file='data/shapes/zero.json': 0 of 43 boxes are left: 43 "),
    (dict(metainfo=dict(classes='cat')), TypeError, ".metainfo.classes='cat'"),
    (dict(filter_cfg=dict(min_size=999)), ValueError,
     ".ann_file='data/shapes/train.json': 0 of 43 boxes are left: 12 "),
    (dict(data_prefix=dict(img='gone/')), FileNotFoundError,
     ": 12 of 12 images are not there, the first is 'data/shapes/gone/"),
])
def test_the_key_at_its_depth(way, at, change, error, words):
    file = content()
    for one in file['annotations']:
        one['area'] = 0
    saved('zero', file)
    good = loader()['dataset']
    with pytest.raises(error) as raised:
        check(wrapped(good, loader(**change)['dataset'], way=way))
    assert str(raised.value).startswith(f'{TRAIN}.{at}{words}')


@pytest.mark.parametrize('change, path', [
    (dict(ann_file='shapestrain.json'), 'data/shapes/train.json'),
    (dict(data_prefix=dict(img='shapestrain')), 'data/shapes/train/0')])
def test_a_missing_slash_is_named(change, path):
    """As of ``data_root + 'train.json'`` with data_root='data/shapes'."""
    cfg = dict(data_root='data', ann_file='shapes/train.json')
    with pytest.raises(FileNotFoundError, match=re.escape(
            f"; '{path}") + r"[\w.]*' exists, so the folder before it"):
        check(loader(**{**cfg, **change}))


def test_a_part_may_be_without_boxes(log):  # noqa: F811
    negatives = dict(content(), annotations=[])
    empty = loader(ann_file=saved('empty', negatives),
                   filter_cfg=EMPTY)['dataset']
    for way in ('repeat', 'mixed'):
        assert len(check(wrapped(empty, loader()['dataset'], way=way))) in (
            24, 48)
    with pytest.raises(ValueError, match=re.escape(
            f"{TRAIN}.dataset: no image has a box of the classes 'circle'")):
        check(wrapped(empty, empty))


def test_it_is_built_once_and_not_copied(monkeypatch):
    built = []
    load = CocoDataset.load_data_list
    monkeypatch.setattr(CocoDataset, 'load_data_list',
                        lambda self: built.append(self) or load(self))
    # the class's own method is what tells a file that mmdet reads as COCO
    cfg = loader(serialize_data=False, lazy_init=True)
    cfg.update(num_workers=0, persistent_workers=False)
    checked = check_data(TRAIN, cfg, nn.Linear(1, 1))
    made = Runner.build_dataloader(checked, seed=0)
    again = Runner.build_dataloader(copy.deepcopy(checked), seed=0)
    assert made.dataset is again.dataset is built[0] and len(built) == 1
    assert len(next(iter(made))['inputs']) == 3
    assert cfg['dataset']['type'] == 'CocoDataset'


def test_what_is_built_is_returned_as_it_is():
    made = built_loader()
    assert check_data(TRAIN, made, nn.Linear(1, 1)) is made
    assert check_data(TRAIN, None, nn.Linear(1, 1)) is None
    os.rename('data/shapes/train/00003.png', 'data/shapes/elsewhere.png')
    try:
        with pytest.raises(FileNotFoundError, match='1 of 12 images are not'):
            check_data(TRAIN, made, nn.Linear(1, 1))
    finally:
        os.rename('data/shapes/elsewhere.png', 'data/shapes/train/00003.png')
    model = build(distiller_cfg('gfl'))
    with pytest.raises(ValueError, match='num_classes=3: train_dataloader'):
        check_data(TRAIN, made, model)


@pytest.mark.parametrize('name, key', [
    ('faster_rcnn', 'roi_head.bbox_head'),
    ('cascade_rcnn', r'roi_head.bbox_head\[2\]'),
    ('mask_rcnn', 'roi_head.mask_head'), ('detr', 'bbox_head'),
    ('fovea', 'bbox_head'), ('ssd', 'bbox_head')])
def test_classes_of_detectors_without_a_known_head(name, key):
    """The last of its heads is wrong; of plain and distilled students."""
    made = built_loader()
    right = unknown_cfg(name, num_classes=5)
    check_data(TRAIN, made, build(right))
    wrong = copy.deepcopy(right)
    heads_of(wrong)[-1]['num_classes'] = 6
    for cfg in (wrong, distilled(wrong, right)):
        with pytest.raises(ValueError, match=(
                f'^model.{key}.num_classes=6: train_dataloader.dataset has 5 '
                r"classes \('circle', .*\); they must be equal")):
            check_data(TRAIN, made, build(cfg, joins=False))


def test_heads_that_count_no_classes():
    """Those of an RPN, and of one mask for all classes."""
    cfg = unknown_cfg('mask_rcnn', num_classes=5)
    cfg['roi_head']['mask_head'].update(class_agnostic=True, num_classes=80)
    rpn = {key: cfg[key] for key in (
        'data_preprocessor', 'backbone', 'neck', 'rpn_head', 'train_cfg',
        'test_cfg')}
    for one in (cfg, dict(rpn, type='RPN')):
        check_data(TRAIN, built_loader(), build(one))


def test_data_of_another_kind_is_left_alone():
    class Pairs(torch.utils.data.Dataset):

        def __len__(self):
            return 3

    cfg = loader()
    cfg['dataset'] = dict(type=Pairs)
    assert len(check(cfg)) == 3
    cfg['dataset'] = Pairs()
    assert check_data(TRAIN, cfg, nn.Linear(1, 1)) is cfg


@pytest.fixture
def scope():
    """A registry scope of a project of its own, the default one."""
    registry = Registry('data set', parent=DATASETS, scope='ours')
    with DefaultScope.overwrite_default_scope('ours'):
        yield registry
    DATASETS._children.pop('ours')


def test_types_of_a_scope_of_its_own(scope):
    scope.register_module('Named', module=type('Named', (CocoDataset, ), {}))
    pipeline = [dict(type='mmdet.LoadImageFromFile')]
    for kind in ('Named', 'mmdet.CocoDataset'):
        cfg = loader(type=kind, pipeline=pipeline)
        assert len(check(cfg)) == 12
        cfg['dataset']['ann_file'] = 'gone.json'
        with pytest.raises(FileNotFoundError, match='gone.json.: no such'):
            check(cfg)
    cfg = loader(_scope_='mmdet', ann_file='gone.json')
    cfg['dataset'] = dict(type='RepeatDataset', times=1, _scope_='mmdet',
                          dataset=cfg['dataset'])
    with pytest.raises(FileNotFoundError, match='dataset.dataset.ann_file='):
        check(cfg)
    # the wrapper's scope is that of what is in it
    cfg['dataset']['dataset'].pop('_scope_')
    cfg['dataset']['dataset'].update(filter_cfg=dict(min_size=99),
                                     ann_file='train.json')
    with pytest.raises(ValueError, match='0 of 43 boxes are left'):
        check(cfg)


def test_xml_of_other_names(tmp_path):
    """What Pascal VOC's files hold is not read before mmdet does."""
    cfg = loader()
    cfg['dataset'] = voc(tmp_path, a='Cat', b='Dog', c='Cat')
    words = re.escape(
        f"{TRAIN}.dataset: none of 3 images is left with filter_cfg="
        "{'filter_empty_gt': True}, indices=None: no image has a box of the "
        f"classes 'cat', 'dog' in {tmp_path}/ImageSets/train.txt (there: "
        "'Cat', 'Dog')")
    with pytest.raises(ValueError, match=words):
        check(cfg)
    inner = cfg['dataset']
    for change in (dict(filter_cfg=None), dict(test_mode=True)):
        cfg['dataset'] = dict(inner, **change)
        with pytest.raises(ValueError, match='no image has a box of the cla.*'
                           r"there: 'Cat', 'Dog'\)"):
            check(cfg)
    cfg = wrapped(loader()['dataset'], inner)
    with pytest.raises(ValueError, match=re.escape(
            f'{TRAIN}.dataset.dataset.datasets[1]: none of 3 images is left')):
        check(cfg)


def test_xml_of_which_all_images_are_too_small(tmp_path):
    cfg = loader()
    cfg['dataset'] = voc(tmp_path, a='cat', b='dog')
    cfg['dataset']['filter_cfg']['min_size'] = 99
    with pytest.raises(ValueError, match='none of 2 images is left with filte'
                       ".*'min_size': 99.*: 2 boxes of the classes 'cat', 'd"):
        check(cfg)


@pytest.mark.parametrize('corners', [dict(xmin=30, xmax=9),
                                     dict(ymin=500, ymax=520)])
def test_xml_of_boxes_that_cannot_be(tmp_path, corners, log):  # noqa: F811
    cfg = loader()
    names = {f'i{n}': 'cat' for n in range(20)}
    cfg['dataset'] = voc(tmp_path, **names)

    def spoil(image):
        path = tmp_path / f'Annotations/{image}.xml'
        text = path.read_text()
        for key, value in corners.items():
            text = re.sub(f'<{key}>.*?<', f'<{key}>{value}<', text)
        path.write_text(text)

    spoil('i3')
    assert len(check(cfg)) == 20
    assert '1 of 20 boxes have no size or are outside' in warnings(log)[0]
    for image in ('i4', 'i5'):
        spoil(image)
    with pytest.raises(ValueError, match=f'{TRAIN}.dataset: 3 of 20 boxes have'
                       ' no size or are outside .*i3.jpg.*x1 < x2'):
        check(cfg)


def test_labels_of_no_class(tmp_path):
    """mmengine's own format holds labels, and no names."""
    def saved_with(label):
        (tmp_path / 'x.json').write_text(json.dumps(dict(
            metainfo=dict(classes=['cat', 'dog']), data_list=[dict(
                img_path='00000.png', img_id=0, height=64, width=64,
                instances=[dict(bbox=[1, 1, 9, 9], bbox_label=0),
                           dict(bbox=[1, 1, 9, 9], bbox_label=label)])])))
        return loader(
            type='BaseDetDataset', ann_file=str(tmp_path / 'x.json'),
            metainfo=None, data_prefix=dict(img_path='train/'))

    assert len(check(saved_with(1))) == 1
    for label in (2, -1):
        with pytest.raises(ValueError, match=f'boxes with the label {label}; '
                           "expected 0 to 1, for the classes 'cat', 'dog'"):
            check(saved_with(label))


def test_xml_of_which_one_name_is_misspelt(tmp_path, log):  # noqa: F811
    cfg = loader()
    cfg['dataset'] = voc(tmp_path, a='cat', b='Dog', c='cat')
    assert len(check(cfg)) == 2
    assert warnings(log)[-1].startswith(
        f"{TRAIN}.dataset: no box of the classes 'dog' in {tmp_path}")
    (tmp_path / 'ImageSets/train.txt').unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(
            f"{TRAIN}.dataset.ann_file='{tmp_path}/ImageSets/train.txt': no")):
        check(cfg)


def test_what_cannot_be_built_is_named():
    good = loader()['dataset']
    with pytest.raises(ValueError, match=re.escape(
            f'{TRAIN}.dataset.dataset.datasets[1]: TypeError: ')) as error:
        check(wrapped(good, dict(good, classes=('circle', ))))
    assert isinstance(error.value.__cause__, TypeError)


@pytest.fixture
def served():
    """The address of a server of the data."""
    handler = partial(http.server.SimpleHTTPRequestHandler,
                      directory='data/shapes')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{httpd.server_port}'
        httpd.shutdown()


def test_what_a_server_has_is_not_missing(served):
    assert len(check(loader(ann_file=f'{served}/train.json'))) == 12
    metric = dict(type='CocoMetric', ann_file=f'{served}/val.json')
    cfg = loader(VAL, ann_file=f'{served}/val.json')
    assert len(check(cfg, VAL, evaluator=metric)) == 6
    file = content()
    for one in file['annotations']:
        one['area'] = 0
    saved('x', file)
    with pytest.raises(ValueError, match='dataset: no image has a box of the'):
        check(loader(ann_file=f'{served}/x.json'))


@pytest.mark.parametrize('change', [
    dict(ann_file='s3://bucket/train.json'),
    dict(data_root='s3://bucket/'),
    dict(ann_file='gone.json', backend_args=dict(backend='petrel'))])
def test_what_only_a_client_can_read_is_not_missing(change):
    with pytest.raises(ValueError, match='install petrel_client'):
        check(loader(**change))


def renamed(folder, copied=12):
    """A folder with so many of the training images, under the same names."""
    folder.mkdir()
    for index in range(copied):
        shutil.copy(f'data/shapes/train/{index:05}.png', folder)
    return dict(img=str(folder))


def test_all_missing_images_are_counted(tmp_path, log):  # noqa: F811
    prefix = renamed(tmp_path / 'images')
    for index in (3, 7):
        os.remove(tmp_path / f'images/{index:05}.png')
    cfg = loader(data_prefix=prefix)
    with pytest.raises(FileNotFoundError) as error:
        check(cfg)
    assert f'{TRAIN}.dataset: 2 of 12 images are not there, the first is' in (
        str(error.value))
    assert '00003.png' in str(error.value)
    file = content()
    # what mmdet does not read may be missing
    file['annotations'] = [a for a in file['annotations']
                           if a['image_id'] not in (3, 7)]
    assert len(check(loader(data_prefix=prefix,
                            ann_file=saved('x', file)))) == 10
    cfg['dataset']['pipeline'][0]['ignore_empty'] = True
    check(cfg)
    assert '2 of 12 images are not there' in warnings(log)[-1]
    # read by other means
    cfg['dataset']['pipeline'][0] = dict(
        type='LoadImageFromFile', backend_args=dict(backend='petrel'))
    check(cfg)


@pytest.mark.parametrize('spoil, words, workers', [
    (lambda p: p.write_bytes(b''), 'empty or broken', 1),
    (lambda p: p.write_bytes(b''), 'empty or broken', 0),
    (lambda p: p.write_text('<html>'), 'empty or broken', 0),
    (lambda p: p.unlink(), 'it is missing', 0)])
def test_a_broken_image_is_named(tmp_path, spoil, words, workers):
    cfg = loader(data_prefix=renamed(tmp_path / 'images'))
    cfg.update(num_workers=workers, persistent_workers=False)
    made = Runner.build_dataloader(check_data(TRAIN, cfg, nn.Linear(1, 1)))
    path = tmp_path / 'images/00005.png'
    spoil(path)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        list(made)
    assert f'{TRAIN}.dataset: the image {str(path)!r} cannot be read' in (
        str(error.value))
    assert words in str(error.value)


@pytest.mark.parametrize('size, words', [
    ((32, 32), 'has 32×32 pixels, but its annotations say 64×64: it looks '
     'like a resized copy'),
    ((48, 64), 'has 48×64 pixels, but its annotations say 64×64: it may be '
     'another picture'),
])
def test_pictures_of_another_size_are_said_once(tmp_path, size, words):
    """By a worker, whose logger writes where the training's does."""
    logger = MMLogger.get_current_instance()
    handler = logging.FileHandler(tmp_path / 'log')
    logger.addHandler(handler)
    cfg = loader(data_prefix=renamed(tmp_path / 'images'))
    for path in (tmp_path / 'images').iterdir():
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), size))
    cfg.update(num_workers=1, persistent_workers=False)
    made = Runner.build_dataloader(check_data(TRAIN, cfg, nn.Linear(1, 1)))
    for _ in range(2):  # each with a worker of its own
        assert len(list(made)) == 4
    assert (tmp_path / 'log').read_text().count(words) == 1
    check(loader())[0]
    assert (tmp_path / 'log').read_text().count('its annotations say') == 1
    logger.removeHandler(handler)


def test_a_picture_that_is_turned(tmp_path, log):  # noqa: F811
    """As phones store it: the orientation stands beside the pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (48, 64)).save(tmp_path / '0.jpg', exif=exif)
    file = content()
    file['images'] = [dict(id=0, file_name='0.jpg', width=48, height=64)]
    cfg = loader(data_prefix=dict(img=str(tmp_path)),
                 ann_file=saved('x', file))
    reader = cfg['dataset']['pipeline'][0]
    reader.update(color_type='color_ignore_orientation')
    check(cfg)[0]
    assert 'pixels' not in log.text
    reader.update(color_type='color')
    check(cfg)[0]
    assert 'its EXIF orientation rotates it' in warnings(log)[-1]
    assert '64×48 pixels, but its annotations say 48×64' in warnings(log)[-1]


def test_a_pipeline_may_find_its_images_itself():
    class Elsewhere:

        def __call__(self, results):
            results['img_path'] = 'data/shapes/train/00000.png'
            return results

    cfg = loader(data_prefix=dict(img='gone/'))
    cfg['dataset']['pipeline'].insert(0, Elsewhere())
    assert check(cfg)[0]['inputs'].shape[0] == 3


ANN = 'data/shapes/val.json'


def evaluate(*metrics, **dataset):
    """Check validation data and its evaluator."""
    every = [dict(type='CocoMetric', **metric) for metric in metrics]
    return check(loader(VAL, **dataset), VAL,
                 evaluator=every[0] if len(every) == 1 else every)


def test_evaluators_that_judge_the_data(log):  # noqa: F811
    shutil.copy(ANN, 'data/shapes/other.json')
    shutil.copy(ANN, 'data/shapes/train/../../other.json')
    for path in (ANN, os.path.abspath(ANN), 'data/../data/shapes/val.json',
                 'data/shapes/other.json', 'data/other.json'):
        assert len(evaluate(dict(ann_file=path))) == 6
    assert len(evaluate(dict(ann_file=ANN), dict(ann_file=ANN))) == 6
    assert len(evaluate(dict(ann_file='s3://bucket/val.json'))) == 6
    both = dict(type='Evaluator', metrics=[
        dict(type='VOCMetric'), dict(type='CocoMetric', ann_file=ANN)])
    for evaluator in (both, Evaluator(both['metrics'])):
        check(loader(VAL), VAL, evaluator=evaluator)
    assert warnings(log) == []


@pytest.mark.parametrize('metric', [dict(), dict(ann_file=None)])
def test_an_evaluator_without_a_file_needs_the_truth_in_the_samples(metric):
    with pytest.raises(ValueError, match='val_evaluator.ann_file is missing'
                       ".*'data/shapes/val.json'"):
        evaluate(metric)
    packs = dict(type='PackDetInputs', meta_keys=('img_id', 'instances'))
    assert len(evaluate(metric, pipeline=[
        dict(type='LoadImageFromFile'), packs])) == 6


@pytest.mark.parametrize('several', [False, True])
def test_an_evaluator_of_other_data(several):
    first = [dict(ann_file=ANN)] if several else []
    at = 'val_evaluator[1]' if several else 'val_evaluator'

    def wrong(path, words, error=ValueError):
        with pytest.raises(error) as raised:
            evaluate(*first, dict(ann_file=path))
        said = str(raised.value)
        assert said.startswith(f'{at}.ann_file={path!r}'), said
        assert words in said, said

    wrong('data/shapes/gone.json', 'no such file (looked from ',
          FileNotFoundError)
    wrong('data/shapesval.json', "; 'data/shapes/val.json' exists, so the "
          "folder before it (data_root?) may lack a '/' at its end",
          FileNotFoundError)
    wrong('data/shapes', "expected the annotations of validation data, "
          f"'{ANN}'", FileNotFoundError)
    wrong(3, ': expected a path', TypeError)
    # the ids of all images are those of others
    file = content()
    for one in file['images']:
        one['file_name'] = f'other{one["id"]}.png'
    saved('x', file)
    wrong('data/shapes/x.json', " has the image 'other0.png' under the id 0, ")
    file = content('val')
    file['images'] = file['images'][:4]
    saved('x', file)
    wrong('data/shapes/x.json', ' has no image under the id 4, ')
    wrong('data/shapes/train.json', ' has 6 images, with ')
    file = content('val')
    file['categories'][0]['name'] = 'ring'
    saved('x', file)
    wrong('data/shapes/x.json', " has the categories 'ring', 'square', ")
    file = content('val')
    file['categories'] = file['categories'][::-1]
    saved('x', file)
    wrong('data/shapes/x.json', " has the categories 'cross', 'star', ")
    with open('data/shapes/x.json', 'w') as text:
        text.write('{')
    wrong('data/shapes/x.json', ': not JSON, or truncated')


def test_an_evaluator_of_a_file_that_cannot_be_evaluated():
    """mmdet learns without ``iscrowd``; pycocotools fails after an epoch."""
    file = content('val')
    for one in file['annotations']:
        del one['iscrowd']
    name = saved('x', file)
    check(loader(ann_file=name))
    with pytest.raises(ValueError, match="annotations.0. .id 1. has no "
                       "'iscrowd', which the evaluation needs"):
        evaluate(dict(ann_file=f'data/shapes/{name}'), ann_file=name)


def test_evaluators_of_wrapped_and_partial_data(log):  # noqa: F811
    cfg = loader(VAL)
    cfg['dataset'] = dict(type='ConcatDataset', datasets=[cfg['dataset']])
    metric = dict(type='CocoMetric', ann_file=ANN)
    assert len(check(cfg, VAL, evaluator=metric)) == 6
    with pytest.raises(ValueError, match='under the id 0, but val_dataloader'
                       r'.dataset.datasets\[1\] has'):
        cfg['dataset']['datasets'].append(
            dict(loader()['dataset'], ann_file=saved('x', dict(
                content(), images=[dict(content()['images'][0],
                                        file_name='9.png')])),
                 pipeline=[]))
        check(cfg, VAL, evaluator=metric)
    (said, ) = warnings(log)
    assert '41 annotations belong to images that the file does not' in said
    log.clear()
    assert len(evaluate(dict(ann_file=ANN), indices=2)) == 2
    assert 'has 4 images, with ' in warnings(log)[-1]


def test_an_evaluator_of_images_of_the_same_names(log):  # noqa: F811
    """``train/0.png`` and ``val/0.png`` are both ``0.png`` in their files."""
    file = content()
    file['images'] = file['images'][:6]
    evaluate(dict(ann_file=f'data/shapes/{saved("x", file)}'))
    assert 'are they annotations of the same images?' in warnings(log)[-1]
    log.clear()
    file = content('val')  # corrected
    file['annotations'].pop()
    evaluate(dict(ann_file=f'data/shapes/{saved("x", file)}'))
    assert warnings(log) == []


def test_validation_without_boxes_is_said(log):  # noqa: F811
    """mmdet trains on; there are only no figures."""
    file = content('val')
    crowds = [dict(one, iscrowd=1) for one in file['annotations']]
    for annotations in ([], crowds):
        name = saved('x', dict(file, annotations=annotations))
        assert evaluate(dict(ann_file=f'data/shapes/{name}'), ann_file=name)
        assert 'val_dataloader.dataset: no image has a box of the classes' in (
            warnings(log)[-1])
        log.clear()
    assert evaluate(dict(format_only=True, outfile_prefix='x'), ann_file=name)


def test_other_metrics_are_asked_for_their_file_only():
    for kind in ('LVISMetric', 'CrowdHumanMetric'):
        with pytest.raises(FileNotFoundError, match='val_evaluator.ann_file'):
            check(loader(VAL), VAL, evaluator=dict(
                type=kind, ann_file='gone.json'))
        check(loader(VAL), VAL, evaluator=dict(type=kind, ann_file=ANN))


def test_training_and_validation_have_the_same_classes():
    def data(*classes):
        return SimpleNamespace(metainfo=dict(classes=classes))

    check_same_classes(data('cat', 'dog'), data('cat', 'dog'))
    check_same_classes(data('cat'), None)
    for other in (('dog', 'cat'), ('cat', 'cow')):
        with pytest.raises(ValueError, match='val_dataloader.dataset.metainfo.'
                           "classes: expected .*'cat', 'dog'.*found '"):
            check_same_classes(data('cat', 'dog'), data(*other))


def test_classes_of_data_and_student():
    model = build(distiller_cfg('gfl'))
    data = SimpleNamespace(metainfo=dict(
        classes=('traffic light', 'dog', 'cat')))
    check_classes(TRAIN, data, model)
    others = dict(classes=('dog', 'traffic light', 'cat'))
    # data sets that differ keep a list of what they are
    data.metainfo = [data.metainfo, others]
    with pytest.raises(ValueError, match='the same classes in the same order'):
        check_classes(TRAIN, data, model)
    check_classes(TRAIN, data, nn.Linear(1, 1))
