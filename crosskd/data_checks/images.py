"""Checking that images exist, can be read, and have their annotated size."""
import copy
import os
from collections.abc import Iterable
from typing import Any

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset

from ..arguments import lacks_slash
from ..errors import ConfigFileNotFoundError, ConfigValueError, describe
from .messages import is_local, warn


def check_images(key: str, dataset: BaseDataset,
                 paths: Iterable[Any]) -> None:
    """Check that every image exists, by listing each folder once.

    Args:
        key: of the data set in the config.
        dataset: the built data set.
        paths: of its images.

    Raises:
        FileNotFoundError: images are missing, and the pipeline does not skip
            them (``ignore_empty``).
    """
    if _reader_at(dataset) != 0:
        return  # a transform before the reader may change the paths
    reader = dataset.pipeline.transforms[0]
    if reader.file_client_args is not None:
        return
    paths = [p for p in paths if is_local(p, reader.backend_args)]
    gone = _missing(paths)
    if not gone:
        return
    message = (f'{key}: {len(gone)} of {len(paths)} images are not there, the '
               f'first is {gone[0]!r} (looked from {os.getcwd()})'
               f'{lacks_slash(gone[0])}')
    if not reader.ignore_empty:
        raise ConfigFileNotFoundError(
            f'{message}; expected them in data_root + data_prefix')
    warn(f'{message}; they are skipped (ignore_empty)')


def _missing(paths: list[str]) -> list[str]:
    listed: dict[str, set[str]] = {}
    gone = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listed:
            try:
                listed[folder] = set(os.listdir(folder or '.'))
            except OSError:
                listed[folder] = set()
        # on some file systems, names may differ in upper and lower case
        if name not in listed[folder] and not os.path.exists(path):
            gone.append(path)
    return gone


def watch_reading(key: str, dataset: BaseDataset) -> None:
    """Make errors that occur while an image is read name the image."""
    at = _reader_at(dataset)
    if at is None:
        return
    transforms = dataset.pipeline.transforms
    if not isinstance(transforms[at], WatchedReader):
        transforms[at] = WatchedReader(transforms[at], key)


def _reader_at(dataset: BaseDataset) -> int | None:
    """The index of mmcv's image reader in the pipeline; None if not there."""
    for index, transform in enumerate(dataset.pipeline.transforms):
        if getattr(type(transform), 'transform', None) in (
                LoadImageFromFile.transform, WatchedReader.transform):
            return index
    return None


class WatchedReader(LoadImageFromFile):
    """Wraps an image reader so that its errors name the image.

    It also warns about the first image whose size differs from its
    annotations.

    Args:
        reader: the transform that reads images.
        key: of the data set in the config.
    """

    def __init__(self, reader: LoadImageFromFile, key: str) -> None:
        self.__dict__.update(vars(reader))
        self._reader = reader
        self._key = key
        # shared by all workers, of this epoch and the next
        self._said = torch.zeros(1, dtype=torch.bool).share_memory_()

    def __deepcopy__(self, memo: dict) -> 'WatchedReader':
        memo[id(self._said)] = self._said  # copies do not repeat the warning
        copied = copy.copy(self)
        copied.__dict__.update(copy.deepcopy(vars(self), memo))
        return copied

    def transform(self, results: dict) -> dict | None:
        """Read an image, as ``LoadImageFromFile`` does.

        Raises:
            FileNotFoundError, ValueError: it cannot be read; the message
                names the file.
        """
        try:
            read = self._reader.transform(results)
        except MemoryError:
            raise
        except Exception as e:
            kind = (ConfigFileNotFoundError if isinstance(
                e, FileNotFoundError) else ConfigValueError)
            raise kind(
                f'{self._key}: the image {results.get("img_path")!r} cannot '
                'be read; it is missing, empty or broken '
                f'({describe(e)})') from None
        if read is not None and not self._said:
            self._compare(read)
        return read

    def _compare(self, read: dict) -> None:
        rows, columns = read.get('height'), read.get('width')
        height, width = read['ori_shape'][:2]
        if rows is None or columns is None or (rows, columns) == (height,
                                                                  width):
            return
        self._said[0] = True
        if (columns, rows) == (height, width):
            cause = ('its EXIF orientation rotates it when it is read. If '
                     'the boxes were drawn without the rotation, set '
                     "LoadImageFromFile(color_type='color_ignore_orientation"
                     "')")
        elif abs(width * rows - height * columns) <= max(rows, columns):
            cause = ('it looks like a resized copy, and the boxes are those '
                     'of the original')
        else:
            cause = 'it may be another picture of this name'
        warn(f'{self._key}: the image {read["img_path"]!r} has {width}×'
             f'{height} pixels, but its annotations say {columns}×{rows}: '
             f'{cause}. Its boxes are in the wrong places (this warning '
             'comes only for the first such image)')
