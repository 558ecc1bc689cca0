"""The text of data.py: what the configs of one folder have in common."""
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from .own_data import Data, Part
from .python_text import Code, python_text

FILE = 'data.py'
# names of data.py; in capitals, because configs of mmdet's have a data_root, a
# scale, … of their own, and two bases must not have the same names
NAMES = ('DATA_ROOT', 'TRAIN_ANNOTATIONS', 'VAL_ANNOTATIONS', 'TRAIN_IMAGES',
         'VAL_IMAGES', 'CLASSES', 'SCALE', 'BATCH_SIZE', 'EPOCHS', 'METAINFO',
         'TRAIN', 'VAL', 'EVALUATOR')
HERE = '{{ fileDirname }}'
REST = '''
# --- the lines below need no change -----------------------------------------
METAINFO = dict(
    classes=CLASSES,
    # colours of the boxes in pictures; neighbours differ
    palette=[(37 * i % 256, 97 * i % 256, 173 * i % 256)
             for i in range(1, len(CLASSES) + 1)])
TRAIN = dict(
    type='CocoDataset',
    data_root=DATA_ROOT,
    ann_file=TRAIN_ANNOTATIONS,
    data_prefix=dict(img=TRAIN_IMAGES),
    metainfo=METAINFO,
    # images without boxes are left out of training
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
        batch_size: images for each GPU in a step.
        epochs: of a training; None if the configs keep their own.
        scaled: the configs whose pipelines go by ``SCALE``.
        every: all configs.
    """
    train, val = data.train, data.val
    lines = [
        '"""The data of all configs in this folder. Change it here."""',
        _line('DATA_ROOT', str(data.root), 'the folder of the data'),
        '# annotations in COCO format: paths from DATA_ROOT, or absolute',
        _line('TRAIN_ANNOTATIONS', _file(train, data.root)),
        _line('VAL_ANNOTATIONS', _file(val, data.root)),
        '# folders of the images: paths from DATA_ROOT, or absolute',
        _line('TRAIN_IMAGES', _inside(train.images, data.root)),
        _line('VAL_IMAGES', _inside(val.images, data.root)),
        '# the categories of the annotation files, in their order',
        _line('CLASSES', data.classes)]
    if scaled:
        used = '' if len(scaled) == len(every) else (
            f' (read by {scaled[0]} only)')
        lines += ['# the longer and the shorter side that images are resized '
                  f'to{used}', _line('SCALE', data.scale)]
    lines.append(_line('BATCH_SIZE', batch_size, 'images for each GPU in a '
                       'step'))
    if epochs is not None:
        lines.append(_line('EPOCHS', epochs, 'of a training'))
    return '\n'.join(lines) + '\n' + REST


def taken_names(names: Iterable[str]) -> list[str]:
    """Names in a config that data.py has, too."""
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
