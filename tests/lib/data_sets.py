"""Configs and files of small data sets, right and wrong, for the checks."""
import copy
import json
import logging
import xml.etree.ElementTree as ET

import torch
from experiments import CLASSES, experiment
from helpers import batch
from mmdet.datasets import CocoDataset
from torch import nn
from torch.utils.data import Dataset

from crosskd.data_checks import check_data

TRAIN, VAL = 'train_dataloader', 'val_dataloader'
DETECTOR = nn.Linear(1, 1)  # its classes are not compared


def loader(key=TRAIN, **dataset):
    """The config of a data loader of the generated shapes."""
    cfg = copy.deepcopy(experiment({})[key])
    cfg['dataset'].update(dataset)
    return cfg


def content(split='train'):
    """What the annotation file of the shapes holds, anew."""
    with open(f'data/shapes/{split}.json') as file:
        return json.load(file)


def saved(name, content):
    """Write annotations beside the right ones; returns their ``ann_file``."""
    with open(f'data/shapes/{name}.json', 'w') as file:
        json.dump(content, file)
    return f'{name}.json'


def check(cfg, key=TRAIN, model=DETECTOR, evaluator=None):
    """Check a loader's config; returns the built data set."""
    checked = check_data(key, cfg, model, evaluator)
    assert {k: v for k, v in checked.items() if k != 'dataset'} == {
        k: v for k, v in cfg.items() if k != 'dataset'}
    return checked['dataset']['type']()


def voc(folder, **names):
    """Write a data set of Pascal VOC's layout; ``names`` of their objects."""
    for part in ('Annotations', 'JPEGImages', 'ImageSets'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for image, name in names.items():
        root = ET.Element('annotation')
        size = ET.SubElement(root, 'size')
        for side in ('width', 'height'):
            ET.SubElement(size, side).text = '64'
        thing = ET.SubElement(root, 'object')
        ET.SubElement(thing, 'name').text = name
        box = ET.SubElement(thing, 'bndbox')
        for key, value in dict(xmin=9, ymin=9, xmax=30, ymax=30).items():
            ET.SubElement(box, key).text = str(value)
        ET.ElementTree(root).write(folder / f'Annotations/{image}.xml')
        (folder / f'JPEGImages/{image}.jpg').touch()
    (folder / 'ImageSets/train.txt').write_text('\n'.join(names))
    return dict(
        type='XMLDataset', data_root=str(folder),
        ann_file='ImageSets/train.txt', data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=('cat', 'dog')),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[dict(type='LoadImageFromFile')])


class Images(Dataset):
    """Four images with boxes, before any preprocessing."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        _, samples = batch((2, ), (64, 64), seed=index)
        rng = torch.Generator().manual_seed(index)
        image = torch.randint(0, 255, (3, 64, 64), generator=rng)
        return dict(inputs=image, data_samples=samples[0])


def images(root, scale, pipeline=(), **kwargs):
    """The generated images at another size."""
    return CocoDataset(
        ann_file=f'{root}/data/shapes/train.json',
        data_prefix=dict(img=f'{root}/data/shapes/train'),
        metainfo=dict(classes=CLASSES), pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=scale, keep_ratio=False),
            *pipeline, dict(type='PackDetInputs')], **kwargs)


def warnings(log):
    """What was logged as a warning or worse."""
    return [r.getMessage() for r in log.records
            if r.levelno >= logging.WARNING]
