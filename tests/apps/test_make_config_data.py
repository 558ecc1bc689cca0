"""Data folders of all kinds, as make_config --data reads them."""
import json
import re
import shutil

import pytest
from coco_folders import (
    CATEGORIES,
    as_coco,
    coco,
    cvat,
    cvat_subsets,
    label_studio,
    names,
    ours,
    put,
    roboflow,
    two_folders,
)
from data_sets import voc

from crosskd.apps.recipes.own_data import read_data

KEY = "--data='data'"


def read(root, trial=False):
    return read_data(root, KEY, root / 'my_configs', trial)


def images(part):
    return [one['file_name'] for one in part.content['images']]


@pytest.mark.parametrize('layout, train, val', [
    (ours, ('train.json', 'images'), ('val.json', 'images')),
    (as_coco, ('annotations/instances_train2017.json', 'train2017'),
     ('annotations/instances_val2017.json', 'val2017')),
    (roboflow, ('train/_annotations.coco.json', 'train'),
     ('valid/_annotations.coco.json', 'valid')),
    (cvat_subsets, ('annotations/instances_Train.json', 'images/Train'),
     ('annotations/instances_Validation.json', 'images/Validation')),
    (two_folders, ('train/annotations.json', 'train/images'),
     ('val/annotations.json', 'val/images'))])
def test_a_layout_is_found(tmp_path, layout, train, val):
    data = read(layout(tmp_path))
    for part, (file, folder), count in ((data.train, train, 6),
                                        (data.val, val, 2)):
        assert part.file == tmp_path / file
        assert part.images == tmp_path / folder
        assert len(images(part)) == count and not part.rewritten
    assert data.classes == CATEGORIES
    assert data.said[0] == ('classes: cat, dog; 6 images for training, 2 '
                            'images for validation')
    assert len(data.said) == (3 if layout is roboflow else 1)


def test_a_group_of_categories_is_no_class(tmp_path):
    """Roboflow's first category has no boxes."""
    said = read(roboflow(tmp_path)).said
    assert ("not used: the category 'animals', which only groups the others "
            'and has no boxes') in said
    assert 'test/_annotations.coco.json is not used' in said


def test_a_group_with_the_name_of_its_class(tmp_path):
    """mmdet finds categories by name, so that the file is written anew."""
    categories = [dict(id=0, name='cat', supercategory='none', used=False),
                  dict(id=1, name='cat', supercategory='cat')]
    for part in ('train', 'valid'):
        put(tmp_path / part / '_annotations.coco.json',
            coco(names(3), categories), tmp_path / part)
    data = read(tmp_path)
    assert data.classes == ('cat', )
    for part in (data.train, data.val):
        assert part.rewritten
        assert [c['id'] for c in part.content['categories']] == [1]
        assert len(part.content['annotations']) == 3


@pytest.mark.parametrize('layout, folder', [
    (cvat, 'images/default'), (label_studio, '.')])
def test_one_file_is_split(tmp_path, layout, folder):
    """By the names of the images, and so the same way every time."""
    data, again = read(layout(tmp_path)), read(tmp_path)
    assert len(images(data.train)) == 8 and len(images(data.val)) == 2
    assert not set(images(data.train)) & set(images(data.val))
    assert images(data.val) == images(again.val)
    for part in (data.train, data.val):
        ids = {one['id'] for one in part.content['images']}
        assert {a['image_id'] for a in part.content['annotations']} == ids
        assert part.rewritten and part.images == tmp_path / folder
    assert 'is the only annotation file' in data.said[1]


def test_a_test_split_stands_in_for_validation(tmp_path):
    shutil.rmtree(roboflow(tmp_path) / 'valid')
    assert read(tmp_path).val.file == (
        tmp_path / 'test/_annotations.coco.json')


def test_the_folder_of_the_configs_is_no_data(tmp_path):
    """A second run finds what the first one found."""
    ours(tmp_path)
    put(tmp_path / 'my_configs/train.json', coco(names(1)))
    assert read(tmp_path).train.file == tmp_path / 'train.json'


def test_a_trial_takes_the_same_images_with_boxes(tmp_path):
    content = coco(names(100))
    del content['annotations'][:10]
    put(tmp_path / 'train.json', content, tmp_path / 'images')
    put(tmp_path / 'val.json', coco(names(5)), tmp_path / 'images')
    data = read(tmp_path, trial=True)
    taken = images(data.train)
    assert len(taken) == 40 and taken == images(
        read(tmp_path, trial=True).train)
    assert not set(taken) & set(names(10))
    assert taken[0] == '10.jpg' and taken[-1] > '90.jpg'  # of all parts of it
    assert data.train.rewritten and not data.val.rewritten


@pytest.mark.parametrize('size, scale', [
    ((640, 480), (640, 480)), ((480, 640), (640, 480)),
    ((4000, 3000), (1067, 800)), ((4000, 1000), (1333, 333)),
    ((320, 320), (320, 320))])
def test_the_scale_is_that_of_the_images(tmp_path, size, scale):
    """As mmdet's (longer, shorter), and no larger than mmdet's."""
    put(tmp_path / 'train.json', coco(names(3), size=size),
        tmp_path / 'images')
    put(tmp_path / 'val.json', coco(names(2)), tmp_path / 'images')
    assert read(tmp_path).scale == scale


def test_categories_in_another_order(tmp_path):
    """mmdet would take the one for the other."""
    put(ours(tmp_path) / 'val.json', coco(names(2, 'v'), ['dog', 'cat']))
    data = read(tmp_path)
    assert data.classes == ('cat', 'dog')
    assert data.val.content['categories'] == [
        dict(id=2, name='cat'), dict(id=1, name='dog')]
    assert data.val.rewritten and not data.train.rewritten


def test_whether_there_are_masks(tmp_path):
    for part in ('train', 'val'):
        put(tmp_path / f'{part}.json', coco(
            names(2), segmentation=[[1, 1, 9, 1, 9, 9]]), tmp_path / 'images')
    assert read(tmp_path).has_masks
    assert not read(ours(tmp_path / 'other')).has_masks


def no_images(root):
    shutil.rmtree(ours(root) / 'images')


def one_image_gone(root):
    (ours(root) / 'images/t3.jpg').unlink()


def fewer_categories(root):
    put(ours(root) / 'val.json', coco(names(2, 'v'), ['cat']))


def twice(root):
    put(ours(root) / 'train.json', coco(names(6, 't'), ['cat', 'cat']))


def two_for_training(root):
    put(ours(root) / 'old/train_v1.json', coco(names(2)))


def no_part_named(root):
    put(root / 'a.json', coco(names(2)), root / 'images')
    put(root / 'b.json', coco(names(2)), root / 'images')


def truncated(root):
    file = ours(root) / 'train.json'
    file.write_text(file.read_text()[:-9])


def a_box_of_three(root):
    content = coco(names(6, 't'))
    content['annotations'][2]['bbox'] = [1, 2, 3]
    put(ours(root) / 'train.json', content)


def one_image(root):
    put(root / 'all.json', coco(names(1)), root / 'images')


def only_images(root):
    (root / 'images').mkdir()
    (root / 'images/a.jpg').touch()
    (root / 'package.json').write_text('{"images": 3}')


REFUSED = [
    (no_images, 'the images of train.json were not found: neither this folder '
     r'nor the 3 levels below it have .t0\.jpg., .t1\.jpg., … \(6 in all\)'),
    (one_image_gone, '1 of 6 images of train.json are not in .*images: '
     r".t3\.jpg."),
    (fewer_categories, 'train.json and val.json have different categories: '
     "val.json has no 'dog'. Expected the same names in both"),
    (twice, "train.json has several categories with the name 'cat'"),
    (two_for_training, r'several annotation files for the train images: '
     r'old/train_v1.json, train.json'),
    (no_part_named, 'cannot tell which annotation file is for training and '
     'which for validation: a.json, b.json. Expected names with "train"'),
    (truncated, 'not JSON, or truncated'),
    (a_box_of_three, r'annotations\[2\].bbox=\[1, 2, 3\]'),
    (one_image, 'expected at least one image for training and one for '
     'validation, found 1 in all.json'),
    (only_images, 'no file with COCO annotations in this folder or the 3 '
     'levels below it. Expected annotations in COCO format'),
]


@pytest.mark.parametrize('make, said', REFUSED)
def test_what_cannot_be_read_is_refused(tmp_path, make, said):
    make(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        read(tmp_path)
    message = str(raised.value)
    assert re.search(said, message), message
    assert message.startswith(('--data=', f"{KEY}: ")), message


@pytest.mark.parametrize('name, said', [
    ('gone', 'no such folder'), ('file', 'is a file')])
def test_no_folder(tmp_path, name, said):
    (tmp_path / 'file').touch()
    with pytest.raises(FileNotFoundError, match=f'{KEY}: {said}'):
        read(tmp_path / name)


def commands(root):
    with pytest.raises(ValueError, match='supervision') as raised:
        read(root)
    return str(raised.value)


def test_voc_is_refused_with_the_command_that_converts_it(tmp_path):
    root = tmp_path / 'VOCdevkit'
    voc(root / 'VOC2007', a='cat')
    said = commands(root)
    at = f'{root}/VOC2007'
    assert 'This looks like Pascal VOC data' in said
    assert (f'  python -c "import supervision as sv; sv.DetectionDataset.'
            f"from_pascal_voc('{at}/JPEGImages', '{at}/Annotations')") in said
    assert f'make_config with --data {root}_coco' in said


def test_yolo_is_refused_with_the_commands_that_convert_it(tmp_path):
    root = tmp_path / 'own'
    for part in ('train', 'valid'):
        for kind, suffix in (('images', 'jpg'), ('labels', 'txt')):
            (root / part / kind).mkdir(parents=True)
            (root / part / kind / f'a.{suffix}').write_text('0 .5 .5 .2 .2')
    (root / 'data.yaml').write_text('names: [cat]')
    said = commands(root)
    for part in ('train', 'valid'):
        at, to = f'{root}/{part}', f'{root}_coco/{part}'
        assert (f"from_yolo('{at}/images', '{at}/labels', "
                f"'{root}/data.yaml').as_coco('{to}', "
                f"'{to}/_annotations.coco.json')") in said


def test_annotations_may_be_large_and_of_any_ids(tmp_path):
    """Ids that are strings, and categories that begin with 0."""
    content = json.loads(json.dumps(coco(names(4), ids=0)))
    for one in content['images']:
        one['id'] = f'image {one["id"]}'
    for one in content['annotations']:
        one['image_id'] = f'image {one["image_id"]}'
    put(tmp_path / 'all.json', content, tmp_path / 'images')
    data = read(tmp_path)
    assert len(data.train.content['annotations']) == 3
