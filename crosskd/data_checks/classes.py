"""Comparing the classes of data and detector."""
import difflib
import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from torch import nn

from ..arguments import few
from ..errors import ConfigTypeError, ConfigValueError, describe
from ..heads import class_counts
from ..names import did_you_mean
from .leaves import Leaf

METAINFO = ('classes', 'palette')


def classes_of(leaf: Leaf) -> tuple | None:
    """Names of the classes in a data set's config; None if it has none.

    Raises:
        TypeError: ``metainfo`` is not a dict, or its classes are a string
            instead of a tuple.
        ValueError: the classes are under a key that mmdet does not read, or a
            name occurs twice.
    """
    own = leaf.cfg.get('metainfo')
    key = f'{leaf.key}.metainfo'
    if not isinstance(own, (dict, type(None))):
        raise ConfigTypeError(
            f'{key}: expected a dict with classes, found {own!r}')
    own = dict(own or {})
    for name in own:
        near = difflib.get_close_matches(str(name).lower(), METAINFO, 1, 0.8)
        if near and near[0] not in own:
            raise ConfigValueError(
                f'{key}.{name} is not read by mmdet; expected '
                f'{key}.{near[0]}')
    classes = own.get('classes', leaf.kind.METAINFO.get('classes'))
    if isinstance(classes, str):
        # a string may also be the path of a file with names
        try:
            classes = leaf.kind._load_metainfo(
                dict(classes=classes))['classes']
        except UnicodeDecodeError as e:
            raise ConfigValueError(
                f'{key}.classes={classes!r}: expected names in '
                f'UTF-8, one per line: {describe(e)}') from None
    if classes is None:
        return None
    if not isinstance(classes, (list, tuple)):
        raise ConfigTypeError(
            f'{key}.classes={classes!r}: expected a tuple of names, found a '
            f'{type(classes).__name__}' +
            (f'; one class is written ({classes!r}, ), with a comma'
             if isinstance(classes, str) else ''))
    twice = [n for i, n in enumerate(classes) if n in classes[:i]]
    if twice:
        raise ConfigValueError(
            f'{key}.classes: expected different names, found '
            f'{twice[0]!r} twice')
    return tuple(classes)


def check_names(key: str, classes: Sequence, names: Sequence) -> None:
    """Compare the classes with the categories of the annotation file.

    Args:
        key: of the data set, for messages.
        classes: the names in the config.
        names: names of the file's categories, in the order of the file.

    Raises:
        ValueError: a class is not a category of the file, or is several, or
            the order differs.
    """
    for name in classes:
        if name not in names:
            raise ConfigValueError(
                f'{key}.metainfo.classes: {name!r} is not a category in '
                f'ann_file, which has {few(names)}'
                f'{did_you_mean(name, names)}')
    # mmdet numbers the classes in the file's order, not in the config's
    ordered = [n for n in names if n in classes]
    if len(ordered) != len(set(ordered)):
        raise ConfigValueError(
            f'{key}.ann_file: expected each category name once, found '
            f'{few(ordered)}')
    if tuple(ordered) != tuple(classes):
        raise ConfigValueError(
            f'{key}.metainfo.classes: expected the order of the '
            f'categories in ann_file, {few(ordered)}, found {few(classes)}')
    left_out = [*dict.fromkeys(n for n in names if n not in classes)]
    if left_out:
        print_log(
            f'{key}.metainfo.classes lacks {few(left_out)} of ann_file; boxes '
            'of these categories are not used', 'current', logging.WARNING)


def check_classes(key: str, dataset: Any, model: nn.Module) -> None:
    """Compare the classes of a data set with those of the student.

    Args:
        key: of the data loader, for messages.
        dataset: the built data set.
        model: the detector.

    Raises:
        ValueError: the number of classes differs from the student's, or the
            parts of a distilled student's data have different classes.
    """
    every = built_classes(dataset)
    for classes in every:
        _compare(key, classes, model)
        # the teacher's classes are matched by these names
        if classes != every[0] and hasattr(model, 'teacher'):
            raise ConfigValueError(
                f'{key}.dataset: expected the same classes in the same order '
                f'in all of its parts, found {few(every[0])} and '
                f'{few(classes)}')


def check_same_classes(train: Any, val: Any) -> None:
    """Compare the classes of training and validation data, both built.

    Raises:
        ValueError: they differ; the AP would be that of other classes.
    """
    ours, theirs = built_classes(train), built_classes(val)
    if len(ours) == len(theirs) == 1 and ours != theirs:
        raise ConfigValueError(
            'val_dataloader.dataset.metainfo.classes: expected the classes '
            f'of train_dataloader.dataset in the same order, {few(ours[0])}; '
            f'found {few(theirs[0])}')


def built_classes(dataset: Any) -> list[tuple]:
    """The classes of a built data set; several if its parts differ."""
    metainfo = getattr(dataset, 'metainfo', None)
    # concatenated data sets with different metainfo have a list of them
    metas = metainfo if isinstance(metainfo, list) else [metainfo]
    every = [(meta or {}).get('classes') for meta in metas]
    return [tuple(classes) for classes in every if classes is not None]


def _compare(key: str, classes: tuple, model: nn.Module) -> None:
    for name, count in class_counts(model).items():
        if count != len(classes):
            raise ConfigValueError(
                f'model.{name}={count}: {key}.dataset has {len(classes)} '
                f'classes ({few(classes)}); they must be equal')
