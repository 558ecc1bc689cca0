"""The detectors that are compared: student alone, teacher, distilled."""
import copy
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from torch import Tensor

from ...configs import plain_model
from ...detectors import DistillationMixin
from ...heads import class_counts, default_tap
from ...pairs import DensePair
from ...taps import FEATURES, measure
from ...taps.images import input_channels
from ...teacher.model_config import model_config, with_random_weights

BOXES = 7  # a COCO image has 7.3 on average


def build_distilled(cfg: Config) -> DistillationMixin:
    """The distilled detector, with a teacher that has random weights."""
    model = copy.deepcopy(cfg.model)
    # a teacher with random weights has no class names
    kd_cfg = model.get('kd_cfg')
    if isinstance(kd_cfg, dict):
        for key in ('classes', 'teacher_classes'):
            kd_cfg.pop(key, None)
    torch.manual_seed(0)
    detector = MODELS.build(model)
    detector.teacher.beside = _folder(cfg)
    if isinstance(detector.pair, DensePair):
        detector.teacher.read()
        ours, theirs = (
            [str(i) for i in range(head.num_classes)]
            for head in (detector.head_adapter, detector.teacher.head))
        if len(ours) != len(theirs):  # equal numbers are matched by index
            detector.join_teacher(ours, teacher_classes=theirs)
    detector.init_weights()
    return detector.train()


def build_plain(cfg: Config) -> BaseDetector:
    """The same student with the same weights, but without a teacher."""
    torch.manual_seed(0)
    detector = MODELS.build(plain_model(cfg.model))
    detector.init_weights()
    return detector.train()


def build_teacher(cfg: Config) -> BaseDetector:
    """The teacher alone, in float32, as mmdet runs it."""
    teacher = MODELS.build(with_random_weights(model_config(
        cfg.model.teacher_config, cfg.get('default_scope') or 'mmdet',
        _folder(cfg))))
    return teacher.requires_grad_(False).eval()


def _folder(cfg: Config) -> Path:
    return Path(str(cfg.filename)).parent


def random_batch(detector: BaseDetector, count: int,
                 size: tuple[int, int]) -> tuple[Tensor, SampleList]:
    """Random images and objects, preprocessed for a detector.

    Objects have masks if the detector learns masks.

    Args:
        detector: the batch is put on its device.
        count: how many images.
        size: (height, width) of them.
    """
    classes = min(class_counts(detector).values(), default=1)
    # heads such as Mask2Former's have another name
    masks = detector.with_mask or getattr(
        detector.data_preprocessor, 'pad_mask', False)
    # some of mmdet's labels begin with 1
    data: Any = demo_mm_inputs(
        count, (input_channels(detector), *size), [BOXES] * count, classes + 1,
        with_mask=masks)
    for sample in data['data_samples']:
        sample.gt_instances.labels -= 1
        del sample.ignored_instances
    batch = detector.data_preprocessor(data, training=True)
    return batch['inputs'], batch['data_samples']


def largest_stride(detector: BaseDetector) -> int:
    """The largest stride of its head, or else of its neck, in pixels."""
    (found, ) = measure({'model': detector}, [
        {FEATURES: default_tap(detector)}])
    return int(max(s for level in found[FEATURES] for s in level.stride))
