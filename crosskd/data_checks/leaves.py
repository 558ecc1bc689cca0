"""Finding the data sets inside wrappers, each with its key in the config.

A wrapper (``ConcatDataset``, ``RepeatDataset``, …) holds other data sets; a
*leaf* is one that holds none and reads annotations itself.
"""
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ..registry import resolve


@dataclass
class Leaf:
    """The config of one data set that reads its own annotations.

    Attributes:
        key: its key in the config, such as
            ``train_dataloader.dataset.datasets[1]``.
        cfg: its config.
        kind: what its ``type`` names, in most cases a class; None if it is not
            registered.
        scope: the registry scope of a wrapper around it; None for the default.
    """

    key: str
    cfg: dict
    kind: Any
    scope: str | None

    @property
    def is_known(self) -> bool:
        """Whether its class is a subclass of mmengine's ``BaseDataset``."""
        return isinstance(self.kind, type) and issubclass(
            self.kind, BaseDataset)

    def build(self, **changes: Any) -> BaseDataset:
        """Build this data set alone, with changes to its config."""
        cfg = {**self.cfg, **changes}
        if self.scope is not None:
            cfg['_scope_'] = self.scope
        dataset = DATASETS.build(cfg)
        dataset.full_init()
        return dataset


def leaves(key: str, cfg: Any, scope: str | None = None) -> Iterator[Leaf]:
    """Yield the leaves in the config of a data set."""
    if not isinstance(cfg, dict):
        return
    scope = cfg.get('_scope_', scope)
    leaf = Leaf(key, cfg, resolve(DATASETS, cfg.get('type'), scope), scope)
    inner = [] if leaf.is_known else list(_inside(
        key, cfg.get('datasets'), cfg.get('dataset')))
    if not any(isinstance(one, dict) for _, one in inner):
        yield leaf
        return
    for at, one in inner:
        yield from leaves(at, one, scope)


def built_leaves(key: str, dataset: Any) -> Iterator[tuple[str, Any]]:
    """Yield key and data set of each leaf in a built data set."""
    inner = [] if isinstance(dataset, BaseDataset) else list(_inside(
        key, getattr(dataset, 'datasets', None),
        getattr(dataset, 'dataset', None)))
    if not inner:
        yield key, dataset
    for at, one in inner:
        yield from built_leaves(at, one)


def _inside(key: str, several: Any, one: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(several, (list, tuple)):
        for index, inner in enumerate(several):
            yield f'{key}.datasets[{index}]', inner
    elif one is not None:
        yield f'{key}.dataset', one
