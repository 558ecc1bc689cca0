"""The images of a test set, through all wrappers of data sets."""
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from ...data_checks.leaves import built_leaves
from ...errors import ConfigValueError


@dataclass(frozen=True)
class Place:
    """Where an image is.

    Attributes:
        dataset: the data set that reads it.
        index: its place there.
    """
    dataset: BaseDataset
    index: int

    def info(self) -> dict[str, Any]:
        """What the data set knows of it, with its annotations."""
        return self.dataset.get_data_info(self.index)


def places(dataset: Any) -> Iterator[Place]:
    """Every image of a built data set once, however it is wrapped.

    Raises:
        ValueError: it has data sets that are not of mmengine's kind.
    """
    for key, part in built_leaves('test_dataloader.dataset', dataset):
        if not isinstance(part, BaseDataset):
            raise ConfigValueError(
                f"{key}: expected a subclass of mmengine's BaseDataset, found "
                f'{type(part).__name__}')
        part.full_init()
        for index in range(len(part)):
            yield Place(part, index)


def read_pixels(place: Place) -> np.ndarray:
    """An image as the first transforms of its pipeline read it.

    Files of a project's own are read by the project's transform.

    Returns:
        np.ndarray: (h, w) or (h, w, channels), of any type.
    """
    results: Any = place.info()
    for transform in place.dataset.pipeline.transforms:
        if 'img' in results:
            break
        results = transform(results)
    return results['img']


@DATASETS.register_module()
class EveryImage(Dataset):
    """The images of a data set, each once.

    Args:
        dataset: its config.
        numbered: whether the ids of images are replaced by their indices,
            because several files may have the same ids.
    """

    def __init__(self, dataset: dict, numbered: bool) -> None:
        built = DATASETS.build(copy.deepcopy(dataset))
        self._places = list(places(built))
        self._numbered = numbered
        self.metainfo = self._places[0].dataset.metainfo

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = self._places[index]
        item = place.dataset[place.index]
        if self._numbered:
            item['data_samples'].set_metainfo(dict(img_id=index))
        return item

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The data set's information about an image."""
        return self._places[index].info()
