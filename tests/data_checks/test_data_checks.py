"""Files of annotations: what is wrong in them is said, with its place."""
import gc
import json
import re

import pytest
from data_sets import TRAIN, check, content, loader, saved, warnings

from crosskd.data_checks import coco_file

pytestmark = pytest.mark.usefixtures('in_shapes_root')

FILE = f"{TRAIN}.dataset.ann_file='data/shapes/x.json': "


def change(part, index=None, **values):
    """Edit one entry of a file's part, or all of them."""

    def edit(file):
        for one in file[part] if index is None else [file[part][index]]:
            one.update(values)

    return edit


def drop(part, index, *keys):
    def edit(file):
        for key in keys:
            del file[part][index][key]

    return edit


def shifted(by):
    def edit(file):
        for one in file['annotations']:
            one['category_id'] += by

    return edit


def half_undeclared(file):
    for one in file['annotations'][::2]:
        one['category_id'] = 77


# what is edited in a right file, and the whole beginning of the error
WRONG = dict(
    no_area=(change('annotations', area=0), r'0 of (\d+) boxes are left: '
             r'\1 with an area of 0 or less'),
    quarter_without_area=(
        lambda f: [a.update(area=-1) for a in f['annotations'][::4]],
        r'11 of 43 boxes cannot be used: 11 with an area of 0 or less '
        r'\(such as annotations\[0\]: .*Expected'),
    normalised=(change('annotations', bbox=[.1, .2, .3, .4]),
                '0 of 43 boxes are left: 43 below 1 pixel'),
    corners=(change('annotations', bbox=[40, 40, -9, 9]),
             '0 of 43 boxes are left: 43 without size'),
    outside=(change('annotations', bbox=[90, 90, 9, 9]),
             '0 of 43 boxes are left: 43 outside their images'),
    not_finite=(change('annotations', bbox=[1, 1, float('nan'), 9]),
                '0 of 43 boxes are left: 43 not finite'),
    infinite=(change('annotations', 2, bbox=[1, 1, float('inf'), 9]),
              r'annotations\[2\].bbox=\[1, 1, inf, 9\] \(id 3\) is not a box'),
    ids_from_0=(shifted(-1), 'the annotations use the category ids 0, 1, 2, '
                '3, 4, but categories lists 1, 2, 3, 4, 5: the ids look '),
    ids_from_1=(shifted(1), 'the annotations use the category ids 2, 3, 4, '
                '5, 6, .*shifted by one'),
    undeclared=(half_undeclared, r'22 of 43 boxes cannot be used: 22 with a '
                'category_id that is not in categories .*77'),
    image_unknown=(change('annotations', image_id=999),
                   'none of 12 images is left|no image has a box'),
    twice_an_annotation=(
        change('annotations', 3, id=1), r'annotations\[0\] and '
        r'annotations\[3\] have the same id, 1'),
    twice_an_image=(change('images', 3, id=1),
                    r'images\[1\] and images\[3\] have the same id, 1'),
    twice_a_category=(change('categories', 3, id=1), r'categories\[0\] and'),
    mixed_image_ids=(change('images', 3, id='3'), r"images\[3\].id='3' is a "
                     'str; expected a number'),
    mixed_references=(
        change('annotations', 3, image_id='3'),
        r"annotations\[3\].image_id='3' is a str; expected a number, like "),
    text_references=(
        lambda f: [a.update(category_id=str(a['category_id']))
                   for a in f['annotations']],
        r"annotations\[0\].category_id='5' is a str; expected a number"),
    null_id=(change('categories', 0, id=None),
             r'categories\[0\].id=None is a NoneType'),
    list_id=(change('annotations', 1, image_id=[0]),
             r'annotations\[1\].image_id=\[0\] is a list'),
    null_width=(change('images', 3, width=None),
                r'images\[3\].width=None \(id 3\): expected a number'),
    text_height=(change('images', 0, height='64'),
                 r"images\[0\].height='64' \(id 0\): expected a number"),
    negative_width=(change('images', 0, width=-64), r'images\[0\].width=-64'),
    zero_height=(change('images', 0, height=0), r'images\[0\].height=0'),
    null_file_name=(change('images', 5, file_name=None),
                    r'images\[5\].file_name=None: expected a string'),
    three_numbers=(change('annotations', 3, bbox=[1, 2, 3]),
                   r'annotations\[3\].bbox=\[1, 2, 3\] \(id 4\) is not a box'),
    text_box=(change('annotations', 3, bbox=['1', 2, 3, 4]),
              r"annotations\[3\].bbox=\['1', 2, 3, 4\] .* is not a box"),
    null_box=(change('annotations', 3, bbox=None),
              r'annotations\[3\].bbox=None .* is not a box'),
    null_area=(change('annotations', 3, area=None),
               r'annotations\[3\].area=None \(id 4\): expected a number'),
    area_gone=(drop('annotations', 3, 'area'),
               r"annotations\[3\]: .* has no 'area'"),
    box_gone=(drop('annotations', 3, 'bbox'),
              r"annotations\[3\]: .* has no 'bbox'"),
    category_gone=(drop('annotations', 3, 'category_id'),
                   r"annotations\[3\]: .* has no 'category_id'"),
    size_gone=(drop('images', 3, 'width', 'height'),
               r"images\[3\]: .* has no 'width', 'height'"),
    entry_no_dict=(lambda f: f['images'].append(3), r'images\[12\]: 3 has no'),
    a_part_no_list=(lambda f: f.update(images={}),
                    'expected COCO annotations with images, found none'),
    annotations_null=(lambda f: f.update(annotations=None),
                      'expected COCO annotations with annotations, found'),
)


@pytest.mark.parametrize('name', WRONG)
def test_the_entry_is_named(name):
    edit, words = WRONG[name]
    file = content()
    edit(file)
    with pytest.raises(ValueError) as error:
        check(loader(ann_file=saved('x', file)))
    said = str(error.value)
    assert re.match(re.escape(FILE) + f'(?:{words})', said) or (
        name == 'image_unknown' and re.search(words, said)), said
    # the traceback of what was wrong inside would be another error
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or not error.value.__context__


@pytest.mark.parametrize('top', [[], 'x', 3, None])
def test_a_file_of_something_else(top):
    with pytest.raises(ValueError, match='expected COCO annotations with'):
        check(loader(ann_file=saved('x', top)))


@pytest.mark.parametrize('bad', [
    dict(bbox=[1, 1, 9, 0]), dict(area=0), dict(bbox=[70, 1, 9, 9]),
    dict(bbox=[1, 1, 0.4, 9]), dict(bbox=[1, float('nan'), 4, 9]),
    dict(category_id=77)])
def test_a_few_bad_boxes_are_said_and_left_out(log, bad):
    file = content()
    box = file['annotations'][0]
    file['annotations'] = [
        dict(box, id=n, image_id=n % 12, bbox=[1 + n % 40, 1, 9, 9])
        for n in range(500)]
    file['annotations'][7].update(bad)
    dataset = check(loader(ann_file=saved('x', file)))
    kept = [len(dataset.get_data_info(i)['instances']) for i in range(12)]
    assert sum(kept) == 499
    said = [w for w in warnings(log) if 'cannot be used' in w]
    assert len(said) == 1
    assert said[0].startswith(f'{FILE}1 of 500 boxes cannot be used: 1 ')
    assert 'annotations[7]' in said[0]


def test_what_mmdet_does_not_read_may_be_as_it_likes(log):
    """Crowds, what is marked to be ignored, other categories' boxes, images
    without boxes, boxes over the border, annotations of other images."""
    file = content()
    file['categories'].append(dict(id=99, name='blob'))
    file['categories'].append(dict(id=98, name='blob'))
    boxes = file['annotations']
    first = boxes[0]
    boxes[0]['iscrowd'] = 1
    boxes[1]['bbox'] = [60, 60, 30, 30]
    boxes[2]['bbox'] = [-5, -5, 30, 30]
    boxes += [
        dict(id=501, image_id=1, category_id=1, ignore=1),
        dict(id=502, image_id=999, category_id=1),
        dict(first, id=503, category_id=99, bbox=[0, 0, 0, 0], area=0),
        dict(first, id=504, iscrowd=1, bbox=[0, 0, 0, 0], area=0)]
    file['images'].append(dict(file['images'][0], id=50))
    dataset = check(loader(ann_file=saved('x', file),
                           filter_cfg=dict(filter_empty_gt=False)))
    assert len(dataset) == 13
    left_out, said = warnings(log)
    assert left_out == (
        f"{TRAIN}.dataset.metainfo.classes lacks 'blob' of ann_file; boxes of "
        'these categories are not used')
    assert '1 annotations belong to images that the file does not list' in said


def test_corners_in_the_place_of_width_and_height_are_said(log):
    file = content()
    for one in file['annotations']:
        x, y, w, h = one['bbox']
        one['bbox'] = [x, y, x + w, y + h]
    check(loader(ann_file=saved('x', file)))
    assert 'boxes extend beyond their images; are they [x1, y1, x2, y2]?' in (
        warnings(log)[-1])


def test_crowds_are_marked_by_numbers():
    file = content()
    file['annotations'][3]['iscrowd'] = '0'
    with pytest.raises(ValueError, match=r"annotations\[3\].iscrowd='0' .*expe"
                       'cted 0 or 1'):
        check(loader(ann_file=saved('x', file)))


def test_ids_may_be_texts(log):
    file = content()
    for part, key in (('images', 'id'), ('annotations', 'image_id')):
        for one in file[part]:
            one[key] = f'no{one[key]}'
    assert len(check(loader(ann_file=saved('x', file)))) == 12
    assert warnings(log) == []


def test_image_ids_that_look_shifted_are_said(log):
    file = content()
    for one in file['annotations']:
        one['image_id'] += 1
    check(loader(ann_file=saved('x', file)))
    assert 'Check that the boxes are on the right images' in log.text


def test_images_below_the_smallest_size(log):
    file = content()
    for one in file['images'][:3]:
        one.update(width=30)
    for one in file['annotations']:
        one.update(bbox=[1, 1, 9, 9])
    cfg = loader(ann_file=saved('x', file),
                 filter_cfg=dict(filter_empty_gt=True, min_size=32))
    assert len(check(cfg)) == 9
    assert warnings(log) == [
        f'{FILE}3 images are smaller than filter_cfg.min_size=32; they are '
        'left out']
    cfg['dataset']['filter_cfg']['min_size'] = 4096
    with pytest.raises(ValueError) as error:
        check(cfg)
    assert str(error.value) == (
        f'{FILE}0 of 43 boxes are left: 12 images are smaller than '
        'filter_cfg.min_size=4096')


def test_many_images_without_boxes_are_said(log):
    file = content()
    file['annotations'] = [a for a in file['annotations']
                           if a['image_id'] > 5]
    assert len(check(loader(ann_file=saved('x', file)))) == 6
    assert '6 of 12 images have no boxes and are left out' in log.text
    file = content()
    file['annotations'] = [a for a in file['annotations'] if a['image_id']]
    log.clear()
    assert len(check(loader(ann_file=saved('x', file)))) == 11
    assert warnings(log) == []


def test_a_part_that_was_asked_for_is_no_loss(log):
    assert len(check(loader(indices=2))) == 2
    assert all('no box of the classes' in w for w in warnings(log))


@pytest.mark.parametrize('metainfo, words', [
    (dict(classes='cat'), "metainfo.classes='cat': expected a tuple of names,"
     r" found a str; one class is written \('cat', \)"),
    (dict(CLASSES=('circle', )), 'metainfo.CLASSES is not read by mmdet; '
     f'expected {TRAIN}.dataset.metainfo.classes'),
    (dict(Class=('circle', )), 'metainfo.Class is not read by mmdet'),
    (dict(PALETTE=[(1, 2, 3)]), 'metainfo.PALETTE is not read by mmdet'),
    (dict(classes={'circle'}), 'expected a tuple of names, found a set'),
    (dict(classes=3), 'metainfo.classes=3: expected a tuple of names'),
    (dict(classes=('circle', 'circle')), "different names, found 'circle'"),
    (('circle', ), 'metainfo: expected a dict with classes'),
])
@pytest.mark.parametrize('kind', ['CocoDataset', 'XMLDataset'])
def test_classes_that_are_none(kind, metainfo, words):
    with pytest.raises((TypeError, ValueError), match=words) as error:
        check(loader(type=kind, metainfo=metainfo))
    assert str(error.value).startswith(f'{TRAIN}.dataset.metainfo')


def test_classes_in_a_file(tmp_path):
    """mmengine reads the names from the file that a string names."""
    names = tmp_path / 'names.txt'
    names.write_text('\n'.join(c['name'] for c in content()['categories']))
    dataset = check(loader(metainfo=dict(classes=str(names))))
    assert len(dataset.metainfo['classes']) == 5


def test_two_categories_of_one_name():
    file = content()
    file['categories'].append(dict(id=9, name='circle'))
    with pytest.raises(ValueError, match='expected each category name once'):
        check(loader(ann_file=saved('x', file)))


@pytest.mark.parametrize('ann_file', [None, '', ['a.json', 'b.json']])
def test_ann_file_that_is_no_path(ann_file):
    with pytest.raises(TypeError, match=f'{TRAIN}.dataset.ann_file: expected '
                       'the path of COCO annotations, found'):
        check(loader(ann_file=ann_file))


@pytest.mark.parametrize('text', ['', '{"images": [', '<html>'])
def test_what_is_no_json(text):
    with open('data/shapes/x.json', 'w') as file:
        file.write(text)
    with pytest.raises(ValueError, match='not JSON, or truncated'):
        check(loader(ann_file='x.json'))


def test_what_a_subclass_reads_its_own_way_is_its_affair(log):
    """Its boxes come from elsewhere; only what it keeps is looked at."""
    from mmdet.datasets import CocoDataset

    class Corners(CocoDataset):

        def parse_data_info(self, raw):
            for one in raw['raw_ann_info']:
                one['bbox'] = [1, 1, 9, 9]
            return super().parse_data_info(raw)

    file = content()
    for one in file['annotations']:
        one['bbox'] = json.dumps(one['bbox'])
    assert len(check(loader(type=Corners, ann_file=saved('x', file)))) == 12
    assert warnings(log) == []


# -- how it is read ----------------------------------------------------------


def annotations_of_every_kind():
    """Ordinary ones, and ones that are not in each way that is known."""
    whole = dict(image_id=1, category_id=1, bbox=[2, 3, 10, 12], area=120,
                 iscrowd=0)
    changes = [
        {}, dict(iscrowd=1), dict(ignore=1), dict(ignore=0), dict(area=0),
        dict(area=float('nan')), dict(bbox=[2, 3, 0, 12]),
        dict(bbox=[2, 3, 0.5, 12]), dict(bbox=[60, 3, 10, 12]),
        dict(bbox=[-20, 3, 10, 12]), dict(bbox=[-2, 3, 10, 12]),
        dict(bbox=[2, 3, 62.5, 12]), dict(bbox=[float('nan'), 3, 10, 12]),
        dict(image_id=2), dict(image_id=9), dict(category_id=2),
        dict(category_id=7), dict(iscrowd=None), {}]
    return [{**whole, 'id': i, **change}
            for i, change in enumerate(changes)]


def look(annotations):
    images = [dict(id=i, file_name=f'{i}.jpg', width=64, height=48)
              for i in (1, 2)]
    categories = [dict(id=1, name='ring'), dict(id=2, name='other')]
    return coco_file.look_through('key', 'file', dict(
        images=images, categories=categories, annotations=annotations),
        ('ring', ))


def test_ordinary_boxes_are_not_looked_at_twice(monkeypatch):
    """A file of COCO's size has a million of them."""
    ordinary = annotations_of_every_kind()[0]

    def never(*_):
        raise AssertionError('an ordinary box')

    monkeypatch.setattr(coco_file, '_problem', never)
    assert look([ordinary, dict(ordinary, id=1)]).boxes == {1: 2}


def test_what_is_found_is_the_same_without_the_short_way(monkeypatch):
    annotations = annotations_of_every_kind()
    found = look(annotations)
    monkeypatch.setattr(coco_file, '_is_ordinary', lambda *_: False)
    assert found == look(annotations)
    assert found.unlisted == 1 and len(found.bad) >= 5
    without = [{k: v for k, v in a.items() if k != 'area'}
               for a in annotations[:1]]
    with pytest.raises(ValueError, match="has no 'area'"):
        look(without)


def test_garbage_is_collected_again_after_a_file_was_read(tmp_path):
    assert gc.isenabled()
    look(annotations_of_every_kind())
    with pytest.raises(FileNotFoundError):
        coco_file.read_json('key', str(tmp_path / 'gone.json'))
    assert gc.isenabled()
