"""Measuring channels and strides at the taps of two detectors."""
from collections.abc import Mapping, Sequence

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import DetDataSample
from torch import Tensor

from ..errors import ConfigError, ConfigValueError, describe
from ..numerics.modes import eval_mode
from ..numerics.randomness import untouched_randomness
from .images import input_channels
from .running import check_each_image, run_to
from .tap import Level, Tap

# sides of the blank image: multiples of the strides of common detectors; the
# larger one is for detectors that fail with the smaller
SIDES = (256, 512, 1024)
Levels = dict[str, list[Level]]


def measure(detectors: Mapping[str, BaseDetector],
            taps: Sequence[Mapping[str, Tap]]) -> list[Levels]:
    """Measure the features at taps, with one blank image.

    Both detectors get an image of the same size, so that equal strides are
    equal numbers.  The detectors do not change.

    Args:
        detectors: by a key that messages name, such as ``'model'``.
        taps: for each of them, its taps by the name of the features.

    Returns:
        list: for each detector, the levels of each tap.

    Raises:
        ValueError: a module does not exist or does not run, or a detector
            fails with a blank image.
    """
    if not any(taps):
        return [{} for _ in detectors]
    for side in SIDES:
        found = []
        try:
            for (key, detector), one in zip(detectors.items(), taps):
                found.append(_levels(key, detector, one, side))
            return found
        except ConfigError:
            raise
        except Exception as e:
            failed, error = key, e
    raise ConfigValueError(
        f'{failed}: cannot measure its features: a blank image of '
        f'{SIDES[-1]}×{SIDES[-1]} pixels fails with {describe(error)}'
    ) from None


@torch.inference_mode(False)
@torch.no_grad()
def _levels(key: str, detector: BaseDetector, taps: Mapping[str, Tap],
            side: int) -> Levels:
    like = next(detector.parameters())
    image = torch.zeros(1, input_channels(detector), side, side,
                        device=like.device, dtype=like.dtype)
    size = (side, side)
    sample = DetDataSample(metainfo=dict(
        img_shape=size, ori_shape=size, pad_shape=size,
        batch_input_shape=size, scale_factor=(1.0, 1.0)))
    with untouched_randomness(), eval_mode(detector), torch.autocast(
            like.device.type, enabled=False):
        try:
            found = run_to(detector, taps, image, [sample])
            check_each_image(taps, found, 1)
        except ConfigValueError as e:
            raise ConfigValueError(f'{key}: {e}') from None
    return {name: [_level(x, side) for x in maps]
            for name, maps in found.items()}


def _level(x: Tensor, side: int) -> Level:
    height, width = x.shape[2:]
    return Level(x.size(1), (round(side / height, 2), round(side / width, 2)))
