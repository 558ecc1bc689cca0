"""Metadata that describe an exported detector."""
import json
from collections.abc import Sequence
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile, Pad, Resize
from mmdet.datasets.transforms import PackDetInputs
from mmdet.models.detectors import SingleStageDetector
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope

from ...data_checks.leaves import leaves

COLOURS = ('color', 'grayscale', 'unchanged')


def describe(detector: SingleStageDetector, plain: Config,
             classes: Sequence[str] | None) -> dict[str, str]:
    """Describe how images are prepared, and the names of the classes.

    Args:
        detector: the plain student.
        plain: its config.
        classes: of its checkpoint; None if the checkpoint does not say.

    Returns:
        dict: JSON by key: ``classes``; ``mean``, ``std``, ``bgr_to_rgb``,
        ``pad_size_divisor`` and ``pad_value`` of the preprocessor; of the
        test pipeline ``color_type`` of the reader, ``scale`` or
        ``scale_factor`` and ``keep_ratio`` of Resize, ``pad``, and
        ``not_described``: names of transforms that no other key describes.
        Keys are left out if they are unknown or do not apply.
    """
    known: dict[str, Any] = {}
    if classes:
        known['classes'] = list(classes)
    preprocessor: Any = detector.data_preprocessor
    if getattr(preprocessor, '_enable_normalize', False):
        known['mean'] = preprocessor.mean.flatten().tolist()
        known['std'] = preprocessor.std.flatten().tolist()
    for key, name in (('bgr_to_rgb', '_channel_conversion'),
                      ('pad_size_divisor', ) * 2, ('pad_value', ) * 2):
        if hasattr(preprocessor, name):
            known[key] = getattr(preprocessor, name)
    known.update(_of_pipeline(plain))
    return {key: json.dumps(value) for key, value in known.items()}


def _of_pipeline(plain: Config) -> dict[str, Any]:
    """Describe the transforms of the test pipeline, as mmcv builds them."""
    known: dict[str, Any] = {}
    others = []
    loader = plain.get('test_dataloader') or {}
    with DefaultScope.overwrite_default_scope(plain.default_scope):
        first = next(leaves('', loader.get('dataset')), None)
        for step in (first.cfg.get('pipeline') or ()) if first else ():
            try:
                built = TRANSFORMS.build(step)
            except Exception:  # a project's transform may read a file
                built = step
            said = _of_transform(built, known)
            if said is None:
                others.append(str(step.get('type', step)) if isinstance(
                    step, dict) else type(step).__name__)
            else:
                known.update(said)
    if others:
        known['not_described'] = others
    return known


def _of_transform(built: Any, known: dict[str, Any]) -> dict[str, Any] | None:
    """Describe a transform; None if that is not possible.

    Args:
        built: the transform.
        known: the description of the transforms before it.
    """
    if isinstance(built, (LoadAnnotations, PackDetInputs)):
        return {}
    if _is(built, LoadImageFromFile, 'transform'):
        if built.imdecode_backend == 'cv2' and built.color_type in COLOURS:
            return dict(color_type=built.color_type)
    elif _is(built, Resize, '_resize_img'):
        if (built.backend, built.interpolation) == ('cv2', 'bilinear') and (
                'keep_ratio' not in known and 'pad' not in known):
            which = 'scale' if built.scale else 'scale_factor'
            return {which: list(getattr(built, which)),
                    'keep_ratio': built.keep_ratio}
    elif _is(built, Pad, '_pad_img') and built.padding_mode == 'constant' and (
            'pad' not in known):
        return dict(pad=dict(
            size=built.size, divisor=built.size_divisor,
            square=built.pad_to_square, value=built.pad_val.get('img', 0)))
    return None


def _is(built: Any, kind: type, method: str) -> bool:
    """Whether it changes images in the same way as mmcv's class."""
    return isinstance(built, kind) and (
        getattr(type(built), method) is getattr(kind, method))
