"""What an exported detector says of itself."""
import json
from collections.abc import Iterator, Sequence
from typing import Any

from mmdet.models.detectors import SingleStageDetector
from mmengine.config import Config


def describe(detector: SingleStageDetector, plain: Config,
             classes: Sequence[str] | None) -> dict[str, str]:
    """How its images are prepared, and what its classes are called.

    Args:
        detector: the plain student.
        plain: its config.
        classes: of its checkpoint; None where that does not say.

    Returns:
        dict: JSON by key: ``classes``; ``mean``, ``std`` and ``bgr_to_rgb`` of
        the preprocessor; ``scale``, the longer and the shorter side of the
        test pipeline's Resize.  What is not known is left out.
    """
    known: dict[str, Any] = {}
    if classes:
        known['classes'] = list(classes)
    preprocessor: Any = detector.data_preprocessor
    if getattr(preprocessor, '_enable_normalize', False):
        known['mean'] = preprocessor.mean.flatten().tolist()
        known['std'] = preprocessor.std.flatten().tolist()
        known['bgr_to_rgb'] = preprocessor._channel_conversion
    scale = next(_scales(plain.get('test_dataloader')), None)
    if scale is not None:
        known['scale'] = list(scale)
    return {key: json.dumps(value) for key, value in known.items()}


def _scales(cfg: Any) -> Iterator[Sequence[int]]:
    """Of each Resize in the pipelines of a data loader's config."""
    if isinstance(cfg, (list, tuple)):
        for part in cfg:
            yield from _scales(part)
    elif isinstance(cfg, dict):
        scale = cfg.get('scale')
        if str(cfg.get('type')).endswith('Resize') and isinstance(
                scale, (list, tuple)) and len(scale) == 2:
            yield scale
        for part in cfg.values():
            yield from _scales(part)
