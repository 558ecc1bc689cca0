"""Folders of COCO data in the layouts that tools export."""
import json

CATEGORIES = ('cat', 'dog')


def coco(names, categories=CATEGORIES, size=(64, 48), first=1, ids=1,
         **annotation):
    """Annotations: a box of each category in turn, one for each image."""
    categories = [
        dict(id=ids + n, name=one) if isinstance(one, str) else one
        for n, one in enumerate(categories)]
    used = [c['id'] for c in categories if c.get('used', True)]
    return dict(
        images=[dict(id=first + n, file_name=name, width=size[0],
                     height=size[1]) for n, name in enumerate(names)],
        annotations=[dict(id=first + n, image_id=first + n,
                          category_id=used[n % len(used)],
                          bbox=[1, 1, 20, 20], area=400, iscrowd=0,
                          **annotation) for n in range(len(names))],
        categories=[{k: v for k, v in one.items() if k != 'used'}
                    for one in categories])


def names(count, prefix=''):
    return [f'{prefix}{n}.jpg' for n in range(count)]


def put(file, content, images=None):
    """Write annotations, and empty images of theirs into a folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    if images is not None:
        for one in content['images']:
            path = images / one['file_name']
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def ours(root):
    put(root / 'train.json', coco(names(6, 't')), root / 'images')
    put(root / 'val.json', coco(names(2, 'v'), first=90), root / 'images')
    return root


def as_coco(root):
    for part, count in (('train', 6), ('val', 2)):
        put(root / f'annotations/instances_{part}2017.json',
            coco(names(count)), root / f'{part}2017')
        put(root / f'annotations/captions_{part}2017.json',
            coco(names(count)))
        put(root / f'annotations/person_keypoints_{part}2017.json',
            coco(names(count)))
    return root


def roboflow(root):
    group = dict(id=0, name='animals', supercategory='none', used=False)
    categories = [group, *(dict(id=n, name=name, supercategory='animals')
                           for n, name in enumerate(CATEGORIES, 1))]
    for part, count in (('train', 6), ('valid', 2), ('test', 1)):
        put(root / part / '_annotations.coco.json',
            coco(names(count, part), categories), root / part)
    return root


def cvat(root):
    put(root / 'annotations/instances_default.json', coco(names(10)),
        root / 'images/default')
    return root


def cvat_subsets(root):
    for part, count in (('Train', 6), ('Validation', 2)):
        put(root / f'annotations/instances_{part}.json',
            coco(names(count, part)), root / 'images' / part)
    return root


def two_folders(root):
    for part, count in (('train', 6), ('val', 2)):
        put(root / part / 'annotations.json', coco(names(count)),
            root / part / 'images')
    return root


def label_studio(root):
    put(root / 'result.json', coco(names(10, 'images/'), ids=0), root)
    return root
