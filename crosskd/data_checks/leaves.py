"""The data sets inside wrappers, each with its key in the config."""
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, Registry


@dataclass
class Leaf:
    """The config of one data set that reads its own annotations.

    Attributes:
        key: where it stands, such as ``train_dataloader.dataset.datasets[1]``.
        cfg: its config.
        kind: its class, or what else its type names; None if nothing does.
        scope: the registry scope that a wrapper around it asks for.
    """

    key: str
    cfg: dict
    kind: Any
    scope: str | None

    @property
    def is_known(self) -> bool:
        """Whether it is a data set of mmengine's kind."""
        return isinstance(self.kind, type) and issubclass(
            self.kind, BaseDataset)

    def build(self, **changes: Any) -> BaseDataset:
        """Build it alone, with changes to its config."""
        cfg = {**self.cfg, **changes}
        if self.scope is not None:
            cfg['_scope_'] = self.scope
        dataset = DATASETS.build(cfg)
        dataset.full_init()
        return dataset


def leaves(key: str, cfg: Any, scope: str | None = None) -> Iterator[Leaf]:
    """Walk the config of a data set through all wrappers around others."""
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
    """Walk a built data set alike; yields keys and data sets."""
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


def resolve(registry: Registry, kind: Any, scope: str | None) -> Any:
    """What a type names, looked up as mmengine does when it builds it."""
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(scope) as scoped:
        return scoped.get(kind)
