"""Finding out how many channels a detector's images have."""
from contextlib import suppress
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

TRIED = 3  # channels of the image that is used to find the first layer


class _FirstLayer(Exception):
    """The first layer is reached, so the pass can stop."""


def input_channels(detector: BaseDetector) -> int:
    """How many channels the images of a detector have.

    The first convolution (or norm) decides it, relative to its input for an
    image of three channels, because some stems rearrange channels first.  If
    the detector refuses such an image earlier, the number of means in its
    preprocessor decides.
    """
    found: list[int] = []

    def reached(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        asked = (layer.in_channels if isinstance(layer, _ConvNd) else
                 layer.num_features)
        found.append(TRIED * asked // inputs[0].shape[1])
        raise _FirstLayer

    hooks = [layer.register_forward_pre_hook(reached)
             for layer in detector.modules()
             if isinstance(layer, (_ConvNd, _BatchNorm))]
    image = torch.zeros(1, TRIED, 64, 64,
                        device=next(detector.parameters()).device)
    # also for a backbone that needs other images
    with suppress(Exception), torch.no_grad():
        detector.extract_feat(image)
    for hook in hooks:
        hook.remove()
    mean = getattr(detector.data_preprocessor, 'mean', None)
    if not found and mean is not None and mean.numel() > 1:
        return mean.numel()
    return found[0] if found else TRIED
