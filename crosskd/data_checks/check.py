"""Building and checking the data of one data loader."""
import copy
import os
from typing import Any

from mmdet.datasets import CocoDataset
from mmengine.dataset import BaseDataset
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from torch import nn
from torch.utils.data import DataLoader

from ..errors import ConfigTypeError
from .build import build, names_in
from .classes import built_classes, check_classes, check_names, classes_of
from .coco_file import CocoFile, look_through, read_json
from .content import check_boxes, check_not_empty, compare, look_at
from .evaluator import check_evaluator, metrics
from .images import check_images, watch_reading
from .leaves import Leaf, built_leaves, leaves
from .messages import ann_file_of, is_local

# files of more bytes are announced before they are read, for two seconds
LARGE = 30e6


def check_data(key: str, loader: dict | DataLoader | None, model: nn.Module,
               evaluator: Any = None) -> dict | DataLoader | None:
    """Build a loader's data set, and compare it with config and annotations.

    Every process builds it.  Only the main process reads the annotation files;
    an error there ends the other processes, too.

    Args:
        key: of the loader in the config: ``'train_dataloader'`` or
            ``'val_dataloader'``.
        loader: config of the loader, or a built loader, which allows fewer
            checks; None if there is none.
        model: the detector.
        evaluator: config of the evaluator of this data.

    Returns:
        dict | DataLoader | None: the config with the built data set in it, so
        that mmengine does not build it again; a built loader unchanged.

    Raises:
        FileNotFoundError: the annotation file or images are missing.
        TypeError, ValueError: config or annotations cannot be trained on, or
            more of the boxes than the limits in ``content.py`` would be lost.
    """
    if loader is None:
        return None
    cfg = (loader.get('dataset') if isinstance(loader, dict) else
           getattr(loader, 'dataset', None))
    at = f'{key}.dataset'
    parts: list[Leaf] = []
    files: dict[str, CocoFile] = {}
    dataset = cfg
    if isinstance(loader, dict) and isinstance(cfg, dict):
        parts = list(leaves(at, cfg))
        if is_main_process():
            files = _read_files(parts)
        dataset = build(cfg, parts, files)
        loader = _with_built(loader, dataset)
    if is_main_process():
        _check_built(at, dataset, files, evaluator)
    for where, part in built_leaves(at, dataset):
        if isinstance(part, BaseDataset):
            watch_reading(where, part)
    check_classes(key, dataset, model)
    return loader


def _with_built(loader: dict, dataset: Any) -> dict:
    def built() -> Any:
        return dataset

    loader = copy.copy(loader)
    # mmengine copies the config deeply; functions are not copied
    loader['dataset'] = dict(type=built)
    return loader


def _read_files(parts: list[Leaf]) -> dict[str, CocoFile]:
    """Check configs and files of COCO annotations; returns the files."""
    files = {}
    for leaf in parts:
        if not leaf.is_known:
            continue
        classes = classes_of(leaf)
        kind = leaf.kind
        # classes that read their files differently check them themselves
        if (getattr(kind, 'load_data_list', None)
                is not CocoDataset.load_data_list
                or kind.COCOAPI is not CocoDataset.COCOAPI
                or kind is not CocoDataset and 'ann_file' not in leaf.cfg):
            continue
        key, path = f'{leaf.key}.ann_file', ann_file_of(leaf.cfg)
        if not path or not isinstance(path, str):
            raise ConfigTypeError(
                f'{key}: expected the path of COCO annotations, found '
                f'{path!r} (for several files, put several data sets in a '
                'ConcatDataset)')
        if not is_local(path, leaf.cfg.get('backend_args')):
            continue
        _say_if_large(key, path)
        content = read_json(key, path)
        if classes is not None:
            check_names(leaf.key, classes,
                        [c['name'] for c in content['categories']])
        if kind.parse_data_info is CocoDataset.parse_data_info:
            files[leaf.key] = look_through(key, path, content, classes,
                                           kind.ANN_ID_UNIQUE)
    return files


def _say_if_large(key: str, path: str) -> None:
    """Announce a file that takes many seconds; mmdet reads it again."""
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    if size > LARGE:
        print_log(f'{key}={path!r}: checking {size / 1e6:.0f} MB',
                  'current')


def _check_built(at: str, dataset: Any, files: dict[str, CocoFile],
                 evaluator: Any) -> None:
    parts = list(built_leaves(at, dataset))
    if not all(isinstance(part, BaseDataset) and part._fully_initialized
               for _, part in parts):
        return  # not an mmengine data set
    every = []
    for key, part in parts:
        kept = look_at(key, part)
        if key in files:
            compare(part, kept, files[key])
        elif kept.is_detection:
            check_boxes(part, kept)
        check_images(key, part, [path for _, path in kept.paths])
        every.append(kept)
    if not all(kept.is_detection for kept in every):
        return
    several = built_classes(dataset)
    judged = any(not (isinstance(m, dict) and m.get('format_only'))
                 for _, m in metrics('', evaluator))
    if len(several) == 1 and (evaluator is None or judged):
        where = [f'{part.ann_file}{names_in(part)}' for _, part in parts]
        check_not_empty(at, every, several[0], where)
        packed = {key for _, part in parts
                  for transform in part.pipeline.transforms
                  for key in getattr(transform, 'meta_keys', ())}
        check_evaluator(f'{at.split("_")[0]}_evaluator', evaluator, every,
                        [part.ann_file for _, part in parts], files,
                        several[0], packed)
