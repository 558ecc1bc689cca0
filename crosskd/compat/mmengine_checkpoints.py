"""mmengine loads checkpoints without running code, and needs no torchvision.

What: in the tools of this package, mmengine's loaders of paths and URLs read
through the allow-list of :mod:`crosskd.checkpoints`, and its loaders of other
storage refuse (:func:`restrict_mmengine`).  As soon as this package is
imported, ``get_torchvision_models`` reads the list that mmengine ships if
torchvision cannot be imported.
Why: mmengine unpickles checkpoints without restriction (OneDL's does so after
a restricted attempt has failed).  It ships the URLs for ``torchvision://``,
but imports torchvision before it looks there.
Until: mmengine only reads checkpoints with an allow-list, and reads its list
without torchvision; neither 0.10.7 nor OneDL's 0.10.12 does.
"""
from pathlib import Path

import mmengine
from mmengine.fileio import load
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from ..checkpoints.loading import (
    REFUSED_STORAGE,
    load_from_allow_list,
    load_from_elsewhere,
)

_with_torchvision = mmengine_checkpoint.get_torchvision_models


def restrict_mmengine() -> None:
    """Let mmengine load all its checkpoints through the allow-list.

    These are ``load_from``, ``--resume``, the test tool's checkpoint and
    pretrained backbones.
    """
    CheckpointLoader.register_scheme(
        ('', 'http://', 'https://'), load_from_allow_list, force=True)
    # for torchvision://, open-mmlab:// and mmcls://
    mmengine_checkpoint.load_from_http = load_from_allow_list
    CheckpointLoader.register_scheme(
        REFUSED_STORAGE, load_from_elsewhere, force=True)


def do_without_torchvision() -> None:
    """Let mmengine know the URLs for ``torchvision://`` in any case."""
    mmengine_checkpoint.get_torchvision_models = torchvision_urls


def torchvision_urls() -> dict[str, str]:
    """The URLs for ``torchvision://``, even if torchvision is missing.

    Returns:
        dict: URL by name, such as ``'resnet50'``.
    """
    try:
        return _with_torchvision()
    except Exception:  # missing, or built for another torch
        return load(
            Path(mmengine.__file__).parent / 'hub' / 'torchvision_0.12.json')
