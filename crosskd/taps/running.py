"""Running only the part of a detector that leads to its taps."""
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models.detectors import BaseDetector, SingleStageDetector
from mmdet.structures import SampleList
from torch import Tensor

from ..errors import ConfigValueError
from .tap import HEAD_INPUT, Tap
from .tapping import tapped

BODY = ('backbone', 'neck')


def run_to(detector: BaseDetector, taps: Mapping[str, Tap], inputs: Tensor,
           samples: SampleList) -> dict[str, list[Tensor]]:
    """Run only the part of a detector that its taps need, and record them.

    For taps in its backbone and neck, and for the input of a single-stage
    detector's head, that is ``extract_feat``.  For other taps it is everything
    before losses and boxes: also a single-stage detector's head, or the
    forward of another detector (``mode='tensor'``).

    Args:
        detector: in eval mode.
        taps: by the name of the features.
        inputs: (N, C, H, W).
        samples: meta information of the N images.

    Returns:
        dict: by name, per level (N, C, H, W).

    Raises:
        ValueError: a module does not exist or did not run.
    """
    if take_features_alone(detector, taps):
        with tapped(detector, hooked(detector, taps)) as found:
            features = detector.extract_feat(inputs)
        add_given(detector, taps, found, features)
    else:
        with tapped(detector, taps) as found:
            if isinstance(detector, SingleStageDetector):
                # its own forward would not call the hooks of the head
                detector.bbox_head(detector.extract_feat(inputs))
            else:
                detector(inputs, samples, mode='tensor')
    for name, maps in found.items():
        check_ran(taps[name], maps)
    return found


def take_features_alone(detector: BaseDetector,
                        taps: Mapping[str, Tap]) -> bool:
    """Whether ``extract_feat`` of a detector runs all that its taps need."""
    return all(
        tap.module.split('.')[0] in BODY or is_given_to_head(detector, tap)
        for tap in taps.values())


def is_given_to_head(detector: BaseDetector, tap: Tap) -> bool:
    """Whether a tap's features are the result of ``extract_feat``."""
    return tap == HEAD_INPUT and isinstance(detector, SingleStageDetector)


def hooked(detector: BaseDetector, taps: Mapping[str, Tap]
           ) -> dict[str, Tap]:
    """The taps that need a hook if the head is not run by its forward."""
    return {name: tap for name, tap in taps.items()
            if not is_given_to_head(detector, tap)}


def add_given(detector: BaseDetector, taps: Mapping[str, Tap],
              found: dict[str, list[Tensor]], features: Any) -> None:
    """Add the input of a single-stage detector's head to the features.

    Args:
        detector: the detector.
        taps: by the name of the features.
        found: features by name, to be extended.
        features: the result of ``extract_feat``.
    """
    found.update({name: list(features) for name, tap in taps.items()
                  if is_given_to_head(detector, tap)})


def check_ran(tap: Tap, maps: list[Tensor]) -> None:
    """Check that there were feature maps at a tap.

    Raises:
        ValueError: its module did not run, or has no feature maps.
    """
    if not maps:
        raise ConfigValueError(
            f'found no feature maps at the {tap}: either the module does not '
            'run in a forward pass, or its tensors are not of shape '
            '(N, C, H, W) or (N, L, C)')


def check_each_image(taps: Mapping[str, Tap],
                     found: Mapping[str, Sequence[Tensor]],
                     images: int) -> None:
    """Check that there is one feature map per image.

    Args:
        taps: by the name of the features.
        found: the features recorded there, per level (N, C, H, W).
        images: how many the batch has.

    Raises:
        ValueError: the numbers differ, such as for maps of boxes, or of
            branches that train together.
    """
    for name, maps in found.items():
        check_ran(taps[name], list(maps))
        counts = {len(x) for x in maps}
        if counts != {images}:
            raise ConfigValueError(
                f'found {", ".join(map(str, sorted(counts)))} feature maps '
                f'at the {taps[name]} for {images} images. Features are '
                'compared image by image: name a module with one map per '
                'image (student and teacher of the FeatureDistiller)')
