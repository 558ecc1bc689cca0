"""Building the data set once; errors name the part that failed."""
import copy
import os
from typing import Any
from xml.etree import ElementTree

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ..arguments import few, missing
from ..errors import ConfigFileNotFoundError, ConfigValueError, describe, words
from .coco_file import CocoFile
from .content import compare, look_at
from .leaves import Leaf
from .messages import ann_file_of, is_local

# how many XML files are read for the names of the objects in them
XML_FILES = 20


def build(cfg: dict, parts: list[Leaf], files: dict[str, CocoFile]) -> Any:
    """Build a data set as mmengine's Runner does.

    Args:
        cfg: config of the data set.
        parts: configs of the data sets inside its wrappers.
        files: their COCO annotation files, by the keys of the parts.

    Returns:
        Any: the built data set.

    Raises:
        Exception: it cannot be built.  If one part causes that, the message
            names the key of that part.
    """
    try:
        dataset = DATASETS.build(copy.deepcopy(cfg))
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        return dataset
    except Exception as e:
        failure = e
    # outside the handler, so that an error found here has no context
    for leaf in parts:
        if leaf.is_known:
            _build_alone(leaf, files.get(leaf.key))
    raise failure


def _build_alone(leaf: Leaf, file: CocoFile | None) -> None:
    try:
        # mmengine fails to serialize an empty data set
        dataset = leaf.build(serialize_data=False)
    except FileNotFoundError as e:
        path = ann_file_of(leaf.cfg)
        if is_local(path, leaf.cfg.get('backend_args')) and path and (
                not os.path.exists(path)):
            raise missing(f'{leaf.key}.ann_file', path,
                          'annotations') from None
        raise ConfigFileNotFoundError(f'{leaf.key}: {words(e)}') from None
    except Exception as e:
        raise ConfigValueError(f'{leaf.key}: {describe(e)}') from e
    if len(dataset):
        return
    if file is not None and file.boxes:
        compare(dataset, look_at(leaf.key, dataset), file)
    whole = leaf.build(serialize_data=False, filter_cfg=None, indices=None)
    boxes = sum(look_at(leaf.key, whole).labels.values())
    said = (f'{boxes} boxes of the classes' if boxes else
            'no image has a box of the classes')
    raise ConfigValueError(
        f'{leaf.key}: none of {len(whole)} images is left with filter_cfg='
        f'{leaf.cfg.get("filter_cfg")}, indices={leaf.cfg.get("indices")}: '
        f'{said} {few(whole.metainfo.get("classes") or ())} in '
        f'{ann_file_of(leaf.cfg)}{names_in(whole)}')


def names_in(dataset: BaseDataset) -> str:
    """Names of objects in some of a data set's XML files, for messages."""
    names = set()
    for index in range(min(len(dataset), XML_FILES)):
        path = dataset.get_data_info(index).get('xml_path')
        if is_local(path, dataset.backend_args) and os.path.isfile(path):
            tree = ElementTree.parse(path)  # noqa: S314  mmdet reads it so
            names |= {o.findtext('name') for o in tree.findall('object')}
    return f' (there: {few(sorted(map(str, names)))})' if names else ''
