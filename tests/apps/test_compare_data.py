"""``compare`` reads test data as mmdet builds it.

A detector that knows the truth has an AP of 100 on whatever data it is.
"""
import json
import re
import shutil

import numpy as np
import pytest
import torch
from experiments import CLASSES
from mmcv.transforms import BaseTransform
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from conftest import REPO
from crosskd.apps.compare import compare
from crosskd.apps.compare.data import read_test_sets
from crosskd.apps.compare.evaluation import evaluate
from crosskd.apps.compare.judging import judge
from crosskd.apps.compare.work_dirs import WorkDir, read_work_dir

TWO = ('circle', 'star')


@MODELS.register_module(force=True)
class KnowsTheTruth(BaseModel):
    """Detects what is annotated, in pixels of the file."""

    def forward(self, inputs, data_samples, mode='tensor'):
        for sample in data_samples:
            truth = sample.gt_instances
            sample.pred_instances = InstanceData(
                bboxes=truth.bboxes, labels=truth.labels,
                scores=torch.ones(len(truth)))
        return data_samples


@DATASETS.register_module(force=True)
class TwoShapes(CocoDataset):
    METAINFO = dict(classes=TWO, palette=[(255, 0, 0), (0, 255, 0)])


@METRICS.register_module(force=True)
class TheirMetric(CocoMetric):
    pass


@TRANSFORMS.register_module(force=True)
class LoadArray(BaseTransform):
    """Reads five channels of floats."""

    def transform(self, results):
        results['img'] = np.load(results['img_path'])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@pytest.fixture
def root(shapes_root, tmp_path, monkeypatch):
    """A folder with a copy of the data."""
    shutil.copytree(shapes_root / 'data', tmp_path / 'data')
    monkeypatch.chdir(tmp_path)
    # formatting takes longer than all the rest
    monkeypatch.setattr(Config, 'pretty_text', '')
    return tmp_path


def config():
    cfg = Config.fromfile(REPO / 'configs/demo/gfl_r18w8_shapes.py')
    cfg.model = dict(type='KnowsTheTruth')
    cfg.test_dataloader.num_workers = 0
    cfg.test_dataloader.persistent_workers = False
    return cfg


def truth_in(file='data/shapes/val.json', classes=CLASSES):
    """Images and boxes of the classes in a file."""
    content = json.loads(open(file).read())
    wanted = {c['id'] for c in content['categories'] if c['name'] in classes}
    return len(content['images']), sum(
        a['category_id'] in wanted for a in content['annotations'])


def halves(root, same_ids):
    """Two annotation files of half of the images each."""
    content = json.loads((root / 'data/shapes/val.json').read_text())
    half = len(content['images']) // 2
    for k, images in enumerate((content['images'][:half],
                                content['images'][half:])):
        new = {image['id']: i if same_ids else image['id']
               for i, image in enumerate(images)}
        boxes = [dict(a, image_id=new[a['image_id']])
                 for a in content['annotations'] if a['image_id'] in new]
        (root / f'data/shapes/val{k}.json').write_text(json.dumps(dict(
            content, annotations=boxes,
            images=[dict(image, id=new[image['id']]) for image in images])))


def own_metainfo(cfg, root):
    cfg.test_dataloader.dataset.update(type='TwoShapes', metainfo=None)
    return TWO


def names_in_a_file(cfg, root):
    (root / 'names.txt').write_text('\n'.join(TWO))
    cfg.test_dataloader.dataset.metainfo = dict(classes='names.txt')
    return TWO


def wrapped(cfg, root):
    inner = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dict(
            type='ConcatDataset', datasets=[inner]))


def several(cfg, root, same_ids=True):
    halves(root, same_ids)
    parts = [dict(cfg.test_dataloader.dataset, ann_file=f'val{k}.json',
                  metainfo=dict(classes=CLASSES, palette=[(k, 2, 3)] * 5))
             for k in (0, 1)]
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    cfg.test_evaluator = dict(
        type='MultiDatasetsEvaluator', dataset_prefixes=['A', 'B'],
        metrics=[dict(type='CocoMetric', metric='bbox',
                      ann_file=f'data/shapes/val{k}.json') for k in (0, 1)])


def several_of_one_file(cfg, root):
    evaluator = cfg.test_evaluator
    several(cfg, root, same_ids=False)
    cfg.test_evaluator = evaluator


def no_file(cfg, root):
    cfg.test_evaluator = dict(type='CocoMetric', metric='bbox')


def several_metrics(cfg, root):
    cfg.test_evaluator = [
        dict(type='VOCMetric'), dict(cfg.test_evaluator, prefix='mine'),
        dict(cfg.test_evaluator, metric='proposal')]


def their_metric(cfg, root):
    cfg.test_evaluator.update(
        type='TheirMetric', backend_args=dict(backend='local'),
        proposal_nums=(1, 10, 100))


def absolute(cfg, root):
    file = str(root / 'data/shapes/val.json')
    cfg.test_dataloader.dataset.ann_file = file
    cfg.test_evaluator.ann_file = file


def classes_as_types(cfg, root):
    """As configs that import what they name: without a scope."""
    cfg.default_scope = None
    cfg.test_dataloader.dataset.type = 'mmdet.CocoDataset'
    cfg.test_evaluator.type = 'mmdet.CocoMetric'
    cfg.model.type = 'mmdet.KnowsTheTruth'


def arrays(cfg, root):
    """Files of a project's own."""
    file = root / 'data/shapes/val.json'
    content = json.loads(file.read_text())
    for image in content['images']:
        image['file_name'] = f'{image["id"]}.npy'
        pixels = np.linspace(-2, 3, image['height'] * image['width'] * 5)
        np.save(root / 'data/shapes/val' / image['file_name'], pixels.reshape(
            image['height'], image['width'], 5).astype('float32'))
    file.write_text(json.dumps(content))
    cfg.test_dataloader.dataset.pipeline[0] = dict(type='LoadArray')


def trained(cfg, root):
    (root / 'w').mkdir()
    (root / 'w/its_config.py').write_text('\n'.join(
        f'{key} = {value!r}' for key, value in cfg.to_dict().items()))
    torch.save(dict(state_dict={}), root / 'w/epoch_1.pth')


@pytest.mark.parametrize('change', [
    own_metainfo, names_in_a_file, wrapped, several, several_of_one_file,
    no_file, several_metrics, their_metric, absolute, classes_as_types,
    arrays], ids=lambda change: change.__name__)
def test_who_knows_the_truth_finds_all_of_it(root, change):
    cfg = config()
    classes = change(cfg, root) or CLASSES
    images, boxes = truth_in(classes=classes)
    trained(cfg, root)
    data = read_test_sets([read_work_dir(root / 'w')])
    assert set(data.classes) == set(data.names.values()) == set(classes)
    assert len(data.images) == images
    assert sum(map(len, data.boxes.values())) == boxes
    result = evaluate(read_work_dir(root / 'w'), data)
    assert result.metrics['AP'] == 100
    assert result.classes.keys() == set(classes)
    assert {*result.classes.values()} <= {100, None}
    found = result.boxes(0)
    for number in data.images:
        judged = judge(found.get(number, []), data.boxes[number], [])
        assert (judged.missed, judged.wrong) == (0, 0)


def test_the_page_has_the_classes_and_images_of_the_data_set(root):
    cfg = config()
    own_metainfo(cfg, root)
    arrays(cfg, root)
    trained(cfg, root)
    row, = compare(['w'], 'out', score=1.0)  # so that all are missed
    assert row['classes'].keys() == set(TWO)
    page = (root / 'out/compare.html').read_text()
    images, boxes = truth_in(classes=TWO)
    assert f'on {images} images of' in page
    missed = re.findall(r'0 of (\d+) objects? found, 0 wrong', page)
    assert sum(map(int, missed)) == boxes == row['objects']['missed'] > 0
    assert row['metrics']['AP']['mean'] == 100


def test_a_part_of_the_images(root):
    """The others of the file count as missed, as for the test tool."""
    cfg = config()
    cfg.test_dataloader.dataset.indices = 2
    data = read_test_sets([WorkDir(root, cfg, 'x')])
    assert len(data.images) == 2 < len(data.sizes) == truth_in()[0]


def test_pictures_are_what_the_pipeline_reads(root):
    import cv2
    data = read_test_sets([WorkDir(root, config(), 'x')])
    number = next(iter(data.images))
    pixels = cv2.imread(str(data.path(number)))
    assert (data.picture(number) == pixels).all()
    cfg = config()
    arrays(cfg, root)
    picture = read_test_sets([WorkDir(root, cfg, 'x')]).picture(0)
    assert picture.shape == pixels.shape and picture.dtype == np.uint8
    assert (picture.min(), picture.max()) == (0, 255)


@pytest.mark.parametrize('change, said', [
    ({'test_dataloader.dataset.ann_file': 'gone.json'},
     'w: its test data cannot be built: test_dataloader.dataset.ann_file='
     ".*gone.json"),
    ({'test_dataloader.dataset.type': 'Gone'},
     'w: its test data cannot be built: .*Gone is not in the'),
    ({'test_evaluator.ann_file': 'data/shapes/train/00000.png'},
     'w?.*00000.png: this is not JSON'),
    ({'test_evaluator.ann_file': 'other.json'},
     "w: test_evaluator.ann_file='other.json' has none of the 6 images"),
])
def test_data_that_cannot_be_read_are_one_error(root, change, said):
    content = json.loads((root / 'data/shapes/val.json').read_text())
    (root / 'other.json').write_text(json.dumps(dict(
        content, images=[], annotations=[])))
    cfg = config()
    cfg.merge_from_dict(change)
    with pytest.raises((FileNotFoundError, ValueError), match=f'^{said}'):
        read_test_sets([WorkDir('w', cfg, 'x')])


def test_parts_of_other_classes_are_one_error(root):
    cfg = config()
    several(cfg, root)
    cfg.test_dataloader.dataset.datasets[1].metainfo = dict(classes=TWO)
    with pytest.raises(ValueError, match='^w: expected one list of classes'):
        read_test_sets([WorkDir('w', cfg, 'x')])
