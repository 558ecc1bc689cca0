"""The text of data.py: the settings that a folder's configs share."""
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from .own_data import Data, Part
from .python_text import Code, python_text

FILE = 'data.py'
# names in data.py; in capitals, because mmdet's configs have a data_root, a
# scale, … of their own, and two bases must not share names
NAMES = ('DATA_ROOT', 'TRAIN_ANNOTATIONS', 'VAL_ANNOTATIONS', 'TRAIN_IMAGES',
         'VAL_IMAGES', 'CLASSES', 'SCALE', 'BATCH_SIZE', 'EPOCHS', 'METAINFO',
         'TRAIN', 'VAL', 'EVALUATOR')
HERE = '{{ fileDirname }}'
REST = '''
# --- you need not change the lines below ------------------------------------
METAINFO = dict(
    classes=CLASSES,
    # colours of the boxes in pictures, one for each class
    palette=[(37 * i % 256, 97 * i % 256, 173 * i % 256)
             for i in range(1, len(CLASSES) + 1)])
TRAIN = dict(
    type='CocoDataset',
    data_root=DATA_ROOT,
    ann_file=TRAIN_ANNOTATIONS,
    data_prefix=dict(img=TRAIN_IMAGES),
    metainfo=METAINFO,
    # training skips images without boxes
    filter_cfg=dict(filter_empty_gt=True, min_size=32))
VAL = dict(
    type='CocoDataset',
    data_root=DATA_ROOT,
    ann_file=VAL_ANNOTATIONS,
    data_prefix=dict(img=VAL_IMAGES),
    metainfo=METAINFO,
    test_mode=True)
EVALUATOR = dict(
    type='CocoMetric',
    ann_file=(VAL_ANNOTATIONS if VAL_ANNOTATIONS.startswith('/')
              else f'{DATA_ROOT}/{VAL_ANNOTATIONS}'))
'''


def data_text(data: Data, batch_size: int, epochs: int | None,
              scaled: Sequence[str], every: Sequence[str]) -> str:
    """Write data.py.

    Args:
        data: the data set.
        batch_size: images per GPU in a step.
        epochs: the epochs of a training; None if the configs keep their own.
        scaled: the configs whose pipelines use ``SCALE``.
        every: all configs.
    """
    train, val = data.train, data.val
    lines = [
        '"""The settings that all configs in this folder share."""',
        _line('DATA_ROOT', str(data.root), 'the folder with your data'),
        '# annotations in COCO format: relative to DATA_ROOT, or absolute',
        _line('TRAIN_ANNOTATIONS', _file(train, data.root)),
        _line('VAL_ANNOTATIONS', _file(val, data.root)),
        '# image folders: relative to DATA_ROOT, or absolute',
        _line('TRAIN_IMAGES', _inside(train.images, data.root)),
        _line('VAL_IMAGES', _inside(val.images, data.root)),
        '# the categories of the annotation files, in the same order',
        _line('CLASSES', data.classes)]
    if scaled:
        used = '' if len(scaled) == len(every) else (
            f' (only {scaled[0]} uses this)')
        lines += ['# the longer and the shorter side to which images are '
                  f'resized{used}', _line('SCALE', data.scale)]
    lines.append(_line('BATCH_SIZE', batch_size, 'images per GPU in a step'))
    if epochs is not None:
        lines.append(_line('EPOCHS', epochs, 'of each training'))
    return '\n'.join(lines) + '\n' + REST


def taken_names(names: Iterable[str]) -> list[str]:
    """Names in a config that data.py also has."""
    return sorted(set(NAMES) & set(names))


def _line(name: str, value: object, comment: str = '') -> str:
    text = f'{name} = {python_text(value, used=len(name) + 3)}'
    whole = f'{text}  # {comment}'
    if not comment:
        return text
    return whole if len(whole) < 80 else f'# {comment}\n{text}'


def _file(part: Part, root: Path) -> object:
    if part.rewritten:  # beside data.py
        return Code(repr(f'{HERE}/{part.name}.json'))
    return _inside(part.file, root)


def _inside(path: Path, root: Path) -> str:
    inner = os.path.relpath(path, root)
    return '' if inner == '.' else inner
