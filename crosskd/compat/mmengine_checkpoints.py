"""mmengine loads checkpoints without running code, and needs no torchvision.

What: mmengine's loaders of paths and URLs read through the allow-list of
:mod:`crosskd.checkpoints`, and those of other storage refuse (for the tools
of this package, see :func:`restrict_mmengine`).  ``get_torchvision_models``
reads the list that mmengine ships where torchvision cannot be imported (as
soon as this package is imported).
Why: mmengine unpickles checkpoints without restriction, OneDL's where a
restricted try has failed.  It ships the URLs behind ``torchvision://``, but
asks torchvision before it looks there.
Until: mmengine reads checkpoints with an allow-list alone, and its list
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

    That is ``load_from``, ``--resume``, the test tool's checkpoint and
    pretrained backbones.
    """
    CheckpointLoader.register_scheme(
        ('', 'http://', 'https://'), load_from_allow_list, force=True)
    # behind torchvision://, open-mmlab:// and mmcls://
    mmengine_checkpoint.load_from_http = load_from_allow_list
    CheckpointLoader.register_scheme(
        REFUSED_STORAGE, load_from_elsewhere, force=True)


def do_without_torchvision() -> None:
    """Let mmengine know the URLs behind ``torchvision://`` in any case."""
    mmengine_checkpoint.get_torchvision_models = torchvision_urls


def torchvision_urls() -> dict[str, str]:
    """URLs behind ``torchvision://``, also where torchvision is missing.

    Returns:
        dict: URL by name, such as ``'resnet50'``.
    """
    try:
        return _with_torchvision()
    except Exception:  # missing, or built for another torch
        return load(
            Path(mmengine.__file__).parent / 'hub' / 'torchvision_0.12.json')
