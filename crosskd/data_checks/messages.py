"""Warnings and paths that the data checks share."""
import logging
import os
from typing import Any

from mmengine.fileio import join_path
from mmengine.logging import print_log
from mmengine.utils import is_abs


def warn(message: str) -> None:
    """Log a warning, for things that may be intended."""
    print_log(message, 'current', logging.WARNING)


def is_local(path: Any, backend_args: Any) -> bool:
    """Whether mmengine reads a path from a disk, and not over a network."""
    backend = (backend_args or dict(backend='local')).get('backend', 'local')
    return (isinstance(path, str) and '://' not in path
            and backend in ('local', 'LocalBackend'))


def ann_file_of(cfg: dict) -> Any:
    """The annotation file in a data set's config, joined as in mmengine."""
    file, root = cfg.get('ann_file'), cfg.get('data_root')
    if isinstance(file, os.PathLike):
        file = os.fspath(file)
    if not (isinstance(file, str) and file and root) or is_abs(file):
        return file
    # mmengine would make a client for the other machine
    return f'{root}/{file}' if '://' in root else join_path(root, file)
