"""Normalisation in pipelines instead of in a data preprocessor."""
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from mmcv.transforms import BaseTransform, Normalize
from mmengine.config import ConfigDict
from mmengine.dataset import Compose
from mmengine.logging import print_log
from torch import Tensor

from ..errors import ConfigValueError

# where a config may have pipelines, those for testing first; 'data' is from
# mmdet 2
PLACES = (('test_dataloader', ), ('data', 'test'), ('test_pipeline', ),
          ('val_dataloader', ), ('data', 'val'), ('train_dataloader', ),
          ('data', 'train'), ('train_pipeline', ))


class Normalized(NamedTuple):
    """The effect of a ``Normalize`` in a pipeline.

    Attributes:
        mean, std: of each channel, after the swap.
        swapped: whether the first and the last channel are swapped.
    """
    mean: tuple[float, ...]
    std: tuple[float, ...]
    swapped: bool

    def __str__(self) -> str:
        mean, std = ([round(x, 3) for x in values]
                     for values in (self.mean, self.std))
        return f'mean={mean}, std={std}, to_rgb={self.swapped}'

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Mean and std, each (C, 1, 1)."""
        mean, std = (torch.tensor(values).view(-1, 1, 1)
                     for values in (self.mean, self.std))
        return mean, std

    def __call__(self, image: Tensor) -> Tensor:
        """Normalise an image (C, H, W)."""
        mean, std = self.tensors()
        return ((image.flip(0) if self.swapped else image) - mean) / std


def normalized_by(key: str, dataset: Any) -> Normalized | None:
    """How the pipelines of a built data set normalise its images.

    Args:
        key: of the data set in the config, for messages.
        dataset: the data set, which may wrap others, or None.

    Raises:
        ValueError: not all images are normalised in the same way.
    """
    ways = set(_ways(dataset))
    first = next(iter(ways))
    if len(ways) > 1 or len(first) > 1:
        raise _differ(key, set().union(*ways), len({*map(bool, ways)}) > 1)
    return next(iter(first), None)


def with_preprocessor(model: ConfigDict, config: Mapping) -> None:
    """Let a model's preprocessor normalise as the config's pipelines do.

    mmdet 2 normalised in pipelines.  The result is logged, unless the config
    has a preprocessor, which says whether images are normalised.

    Args:
        model: the model's config; gets a ``data_preprocessor``.
        config: the whole config.

    Raises:
        ValueError: pipelines and preprocessor both normalise, or pipelines
            differ.
    """
    place, pipelines = next(_places(config), ('', None))
    found = set(_found(pipelines))
    given = model.get('data_preprocessor')
    if given is not None and not isinstance(given, dict):
        return  # a module
    mean = given and given.get('mean')
    if len(found) > 1:
        raise _differ(f'teacher_config.{place}', found)
    if found and mean is not None:
        raise ConfigValueError(
            f'teacher_config.{place} normalises ({next(iter(found))}), and so '
            f'does data_preprocessor (mean={list(mean)}); expected only one: '
            'remove the one that its checkpoint was not trained with')
    if not pipelines and mean is None and config.get('img_norm_cfg'):
        place, found = 'img_norm_cfg', {_read(config['img_norm_cfg'])}
    if found:
        _set_preprocessor(model, next(iter(found)))
        print_log(f'teacher_config.{place} normalises ({next(iter(found))}), '
                  "so the teacher's input is normalised that way", 'current')
    elif given is None and pipelines:
        model.data_preprocessor = dict(type='mmdet.DetDataPreprocessor')
        print_log('teacher_config has no data_preprocessor and no Normalize '
                  f'in {place}, so the teacher gets pixels that are not '
                  'normalised. If it was trained on normalised ones, set '
                  'teacher_config.model.data_preprocessor', 'current',
                  logging.WARNING)
    elif given is None:
        print_log('teacher_config has no data_preprocessor and no pipeline '
                  'that normalises images, so the teacher gets the same '
                  'pixels as the student. If it was trained on other pixel '
                  'values, set teacher_config.model.data_preprocessor',
                  'current',
                  logging.WARNING)


def _set_preprocessor(model: ConfigDict, way: Normalized) -> None:
    given = dict(model.get('data_preprocessor') or {})
    if str(given.get('type', '')).rpartition('.')[2] in (
            '', 'BaseDataPreprocessor'):
        given['type'] = 'mmdet.DetDataPreprocessor'
    swaps = bool(given.pop('bgr_to_rgb', False)
                 or given.pop('rgb_to_bgr', False))
    order = -1 if swaps else 1  # its swap came after Normalize, not before
    given.update(mean=list(way.mean[::order]), std=list(way.std[::order]),
                 bgr_to_rgb=way.swapped != swaps)
    model.data_preprocessor = given


def _places(config: Mapping) -> Iterator[tuple[str, list]]:
    """Places in a config that have pipelines, and the pipelines."""
    for place in PLACES:
        part: Any = config
        for key in place:
            part = part.get(key) if isinstance(part, Mapping) else None
        pipelines = [part] if isinstance(part, (list, tuple)) else list(
            _pipelines(part))
        if pipelines:
            yield '.'.join(place), pipelines


def _pipelines(part: Any) -> Iterator[Any]:
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key == 'pipeline' and value:
                yield value
            else:
                yield from _pipelines(value)
    elif isinstance(part, (list, tuple)):
        for one in part:
            yield from _pipelines(one)


def _ways(dataset: Any, around: frozenset = frozenset()
          ) -> Iterator[frozenset[Normalized]]:
    """For each data set in a wrapper, the transforms of its images."""
    ways = around | set(_found(getattr(dataset, 'pipeline', None)))
    inner = getattr(dataset, 'datasets', None) or [
        one for one in [getattr(dataset, 'dataset', None)] if one is not None]
    if not inner:
        yield ways
    for one in inner:
        yield from _ways(one, ways)


def _found(part: Any) -> Iterator[Normalized]:
    """Every ``Normalize`` in a pipeline or its config, however deep."""
    if isinstance(part, Normalize):
        yield Normalized(tuple(part.mean.tolist()), tuple(part.std.tolist()),
                         part.to_rgb)
    elif isinstance(part, (BaseTransform, Compose)):
        yield from _found(vars(part))
    elif isinstance(part, Mapping):
        if _is_normalize(part.get('type')):
            yield _read({k: v for k, v in part.items() if k != 'type'})
        else:
            for value in part.values():
                yield from _found(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _found(value)


def _is_normalize(kind: Any) -> bool:
    if isinstance(kind, type):
        return issubclass(kind, Normalize)
    return str(kind).rpartition('.')[2] == Normalize.__name__


def _read(cfg: Mapping) -> Normalized:
    try:
        (found, ) = _found(Normalize(**cfg))
    except (TypeError, ValueError) as e:
        raise ConfigValueError(f'teacher_config: Normalize({dict(cfg)}): {e}'
                               ) from None
    return found


def _differ(key: str, ways: set[Normalized],
            not_all: bool = False) -> ValueError:
    some = ['nothing'] if not_all else []
    found = '; '.join(some + sorted(map(str, ways)))
    return ConfigValueError(
        f'{key} normalises images in different ways ({found}); expected the '
        'same Normalize for all, or mean and std in data_preprocessor')
