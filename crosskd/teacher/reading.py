"""Reading a teacher: its config, and all of its weights."""
from pathlib import Path

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.dist import broadcast
from mmengine.logging import print_log
from torch import nn

from ..checkpoints.downloads import is_url
from ..checkpoints.loading import load_checkpoint
from ..errors import ConfigTypeError, ConfigValueError, readable, words
from ..heads import dense_head
from ..numerics.randomness import untouched_randomness
from .feature_teacher import FeatureTeacher
from .loading import classes_of, load_strictly
from .model_config import brings_weights, model_config, with_random_weights
from .untrained import check_trained

RANDOM = 'random'


def read_teacher(config: str | Path | dict | Config | None,
                 ckpt: str | Path | None, trust_ckpt: bool,
                 scope: str | None, beside: Path | None, dense: bool
                 ) -> tuple[BaseDetector, tuple[str, ...] | None]:
    """Read a teacher.

    Args:
        config, ckpt, trust_ckpt, dense: as for
            :class:`~crosskd.teacher.Teacher`.
        scope: the registry scope to build it in, if its config names none.
        beside: the folder of the student's config, if it is known.

    Returns:
        tuple: the detector, frozen and in eval mode, and the names of the
        classes that its checkpoint was trained on; None if it does not say.

    Raises:
        FileNotFoundError: config or checkpoint do not exist.
        TypeError: ``teacher_config`` is not the config of a detector.
        ValueError: no checkpoint is named, or its weights do not fit.
    """
    if not isinstance(config, (str, Path, dict, Config)):
        raise ConfigTypeError(
            'teacher_config must be the path of a config file, a dict or '
            f'a Config, found {config!r}')
    named = isinstance(ckpt, (str, Path))
    if named and str(ckpt) != RANDOM and not is_url(str(ckpt)):
        check_trained(str(ckpt), config, beside)
    model = model_config(config, scope, beside)
    if str(ckpt) == RANDOM:
        model = with_random_weights(model)
    _check_weights(model, ckpt)
    # the same seed is the same student, with a teacher and without; and a
    # student may be built without values
    with untouched_randomness(), torch.device('cpu'):
        detector = _build(model)
        if str(ckpt) == RANDOM:
            # DETR leaves its level embeddings uninitialised
            for own in detector.parameters(recurse=False):
                nn.init.normal_(own)
    weights, name = detector, type(detector).__name__
    if isinstance(detector, FeatureTeacher):
        weights, name = detector.model, detector.title
    if dense:
        _check_head(detector, name)
    classes = None
    if ckpt is None:
        print_log(f'teacher: {name} with the weights that timm has for it',
                  logger='current')
    elif str(ckpt) == RANDOM:
        for values in detector.state_dict().values():
            broadcast(values)  # processes may have different seeds
        print_log("teacher_ckpt='random': the teacher has random weights",
                  logger='current')
    else:
        checkpoint = load_checkpoint(
            str(ckpt), 'teacher_ckpt', 'If you trust the file, set '
            'trust_teacher_ckpt=True in the model', trust_ckpt)
        classes = classes_of(checkpoint)
        load_strictly(weights, checkpoint, f'teacher_ckpt={str(ckpt)!r}')
        known = f', {len(classes)} classes' if classes else ''
        print_log(f'teacher: {name} with all weights of {ckpt}{known}',
                  logger='current')
    return detector.requires_grad_(False).eval(), classes


def _check_weights(model: ConfigDict, ckpt: str | Path | None) -> None:
    """Check that exactly one thing tells where a teacher's weights are."""
    if brings_weights(model):
        if ckpt is not None:
            raise ConfigValueError(
                f'teacher_ckpt={str(ckpt)!r} and teacher_config.pretrained='
                'True both tell which weights the teacher has; expected one')
    elif not isinstance(ckpt, (str, Path)):
        raise ConfigValueError(
            f'teacher_ckpt={ckpt!r}: a teacher needs weights. '
            f"Expected the path or URL of a checkpoint, or '{RANDOM}' for "
            'a teacher with random weights')


def _check_head(detector: BaseDetector, name: str) -> None:
    """Check that a teacher has predictions that can be distilled."""
    if isinstance(detector, FeatureTeacher):
        raise ConfigTypeError(
            f'teacher_config: {name} is not an mmdet detector, so it has no '
            'predictions; distil its features instead (kd_cfg.loss_feat_kd)')
    try:
        dense_head(detector, teaches=True)
    except TypeError as e:
        raise ConfigTypeError(f'teacher_config.model.{e}') from None


def _build(model: ConfigDict) -> BaseDetector:
    try:
        detector = MODELS.build(model)
    except (AssertionError, KeyError, RuntimeError, TypeError,
            ValueError) as e:
        raise ConfigValueError(
            f'teacher_config: {words(readable(e))}') from None
    if not isinstance(detector, BaseDetector):
        raise ConfigTypeError(
            f'teacher_config: {type(detector).__name__} is not an mmdet '
            'detector')
    return detector
