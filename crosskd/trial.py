"""One small pass of teacher and student, before a run begins."""
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample, SampleList
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from .detectors.base import DistilledSingleStageDetector
from .detectors.imitation import cross_head
from .heads import check_maps, trace
from .randomness import untouched_randomness
from .user_errors import is_for_user

FEW = 10  # items to look at for one that the pipeline does not drop


def try_pair(model: DistilledSingleStageDetector, dataset: Any = None) -> None:
    """Run teacher, student and the cross head once, without gradient.

    On the first image of the data set, cut to a few hundred pixels that leave
    the same remainder to the strides.  Nothing of the model changes, and no
    random number is drawn.

    Args:
        model: whose teacher has joined.
        dataset: the training data; an image of noise stands in for data sets
            that cannot be asked for one item.

    Raises:
        ValueError: what cannot work, with the key of the part that failed.
        TypeError: a head returns something else than its family does.
    """
    student, teacher = model.student_head(), model.teacher
    split = model.kd.split
    with untouched_randomness(), torch.no_grad(), _eval_mode(model):
        inputs, samples = _batch(model, dataset)
        with _naming('model', model, inputs):
            features = model.extract_feat(inputs)
            with trace(student, split) as s:
                model.bbox_head(features)
        with _naming('teacher_config.model', teacher.detector, inputs):
            t_features, t = teacher(inputs, samples, model.data_preprocessor,
                                    split)
        check_maps(student, s, teacher.head, t, inputs)
        if split is not None:
            with _naming('teacher_config.model', teacher.detector, inputs):
                outputs = cross_head(s, teacher.head, t, split)
            teacher.head.check_outputs(outputs)
        model.imitation.features(features, t_features)


def _batch(model: SingleStageDetector,
           dataset: Any) -> tuple[Tensor, SampleList]:
    """One image, twice, as the model is given it: (2, C, h, w)."""
    strides = [s for pair in model.student_head().strides for s in pair]
    data = _first_item(dataset)
    if data is None:
        sample = DetDataSample()
        size = (2 * max(strides), ) * 2
        sample.set_metainfo(dict(img_shape=size, ori_shape=size))
        data = dict(inputs=torch.randint(0, 255, (3, *size)),
                    data_samples=sample)
    device = next(model.parameters()).device
    try:
        batch = model.data_preprocessor(pseudo_collate([data]), training=False)
    except Exception as e:
        raise ValueError(f'model.data_preprocessor: cannot take the first '
                         f'image of the data: {_said(e)}') from None
    inputs = batch['inputs'].to(device)
    height, width = (_cut(n, max(strides)) for n in inputs.shape[2:])
    sample = batch['data_samples'][0]
    h, w = sample.img_shape[:2]
    sample.set_metainfo(dict(img_shape=(min(h, height), min(w, width))))
    # twice, for norms that need more than one value a channel
    return inputs[:, :, :height, :width].repeat(2, 1, 1, 1), [sample] * 2


def _first_item(dataset: Any) -> dict | None:
    """The first image as the pipeline makes it, where one can be asked for.

    Through a copy of the pipeline: some keep what they have seen.
    """
    key = 'train_dataloader.dataset'
    while True:
        if getattr(dataset, 'datasets', None):
            dataset, key = dataset.datasets[0], f'{key}.datasets[0]'
        elif hasattr(dataset, 'dataset'):
            dataset, key = dataset.dataset, f'{key}.dataset'
        else:
            break
    if not hasattr(dataset, 'prepare_data'):
        return None
    dataset = copy.copy(dataset)
    dataset.pipeline = copy.deepcopy(dataset.pipeline)
    for index in range(min(len(dataset), FEW)):
        try:
            item = dataset.prepare_data(index)
        except Exception as e:
            if isinstance(e, MemoryError) or is_for_user(e):
                raise
            raise ValueError(f'{key}.pipeline: fails on the first image: '
                             f'{_said(e)}') from None
        if item is not None:
            return item if {'inputs', 'data_samples'} <= set(item) else None
    return None


def _cut(side: int, stride: int) -> int:
    """At most about two strides, with the remainder of the whole side."""
    return side if side <= 3 * stride else side % stride + 2 * stride


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _naming(key: str, detector: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Let an error name the part of the detector that it came from."""
    try:
        yield
    except Exception as e:
        if isinstance(e, MemoryError) or is_for_user(e):
            raise
        part = _part(detector, e)
        size = '×'.join(map(str, inputs.shape))
        raise ValueError(
            f'{key}{part and "."}{part}: cannot take a batch of {size}: '
            f'{_said(e)}') from None


def _part(detector: nn.Module, error: Exception) -> str:
    """Name of the innermost module whose code the error came through."""
    names = {id(module): name for name, module in detector.named_modules()}
    found, trace = '', error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get('self')
        found = names.get(id(owner), '') or found
        trace = trace.tb_next
    return found


def _said(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'
