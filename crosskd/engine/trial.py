"""Running teacher and student once on a small image, before training."""
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import islice
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import DetDataSample, SampleList
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..compat.mmengine_logging import quiet
from ..detectors import DistillationMixin
from ..detectors.copied_head import copied_head
from ..errors import ConfigError, ConfigTypeError, ConfigValueError, describe
from ..numerics.modes import eval_mode
from ..numerics.randomness import untouched_randomness
from ..taps import HEAD_INPUT

KEY = 'train_dataloader.dataset'
TEACHER = 'teacher_config.model'
FEW = 10  # items to read; the pipeline may drop some of them
PIXELS = 256  # a side, plus the remainder by the largest stride
LEAST = 3  # locations per side, which deformable convolutions need
EVEN = 32  # a multiple of the strides of all common backbones
COARSEST = 128  # stride of common necks


def try_pair(model: DistillationMixin, dataset: Any = None) -> None:
    """Run teacher, student and cross-head predictions once, to find errors.

    The input is the first image of the data set, cut to a few hundred pixels
    (with the same remainder when divided by the strides).  There is no
    gradient, nothing of the model changes, and the state of the random number
    generators is restored.

    Args:
        model: the student, after ``join_teacher()``.
        dataset: the training data; random pixels are used for data sets from
            which no single item can be read.

    Raises:
        ValueError: a part of the model fails; the message names its key.
        TypeError: a head's outputs differ from those of its family.
    """
    with untouched_randomness(), torch.no_grad(), eval_mode(model), (
            copied_head(model) if model.has_dense_head else nullcontext()):
        for inputs, samples in _batches(model, dataset):
            _pass(model, inputs, samples)


def _run(model: DistillationMixin, inputs: Tensor,
         samples: SampleList) -> Callable[[], Any] | None:
    """A function that runs the student; None for its whole loss.

    With a dense head, this includes the loss.  Losses of other detectors may
    need training mode, which changes norms, so only their forward is run.
    """
    if not model.has_dense_head:
        return partial(model.forward, inputs, samples, mode='tensor')
    with _naming('model', model, inputs):
        features = model.extract_feat(inputs)
        outputs = model.bbox_head(features)
    try:
        model.head_adapter.check_outputs(outputs, training=True)
    except TypeError as e:
        raise ConfigTypeError(f'model.{e}') from None
    if set(model.plan.student.values()) - {HEAD_INPUT}:
        return None  # features from before the head are needed, too
    return partial(model.bbox_head.loss, features, samples)


def _pass(model: DistillationMixin, inputs: Tensor,
          samples: SampleList) -> None:
    run = _run(model, inputs, samples)
    with _naming('model', model, inputs):
        _, paired = model.paired(inputs, samples, run, model.distillers.needs)
    # on a copy, because losses may count their calls
    with _naming('model.kd_cfg', model, inputs), quiet():
        _at_work(model.distillers)(paired)


def _at_work(distillers: nn.Module) -> nn.Module:
    """A copy without weights of 0, which hooks and schedules may raise."""
    copied: Any = copy.deepcopy(distillers)
    copied.schedules.pause()
    for module in copied.modules():
        weight = getattr(module, 'loss_weight', 1)
        if not isinstance(weight, Tensor) and weight == 0:
            module.loss_weight = 1.0
    return copied


def _batches(model: DistillationMixin,
             dataset: Any) -> Iterator[tuple[Tensor, SampleList]]:
    """Preprocessed batches of one image, repeated twice: (2, C, h, w).

    There is one batch if all batches are padded to a multiple of 32.  Else
    there is one for each size among the first few images.
    """
    divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
    items = list(islice(first_items(KEY, dataset),
                        1 if divisor % EVEN == 0 else FEW))
    sizes = set()
    for data in items or [_noise(model)]:
        inputs, samples = _preprocessed(model, data)
        if inputs.shape not in sizes:
            sizes.add(inputs.shape)
            yield inputs, samples


def _noise(model: DistillationMixin) -> dict:
    sample = DetDataSample()
    size = (LEAST * _largest_stride(model), ) * 2
    sample.set_metainfo(dict(img_shape=size, ori_shape=size))
    sample.gt_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    inputs = torch.randint(0, 255, (3, *size))
    if model.teacher.before is not None:  # as the pipeline would
        inputs = model.teacher.before(inputs)
    return dict(inputs=inputs, data_samples=sample)


def _largest_stride(model: DistillationMixin) -> int:
    """The largest stride of the student's levels, in pixels."""
    if not model.has_dense_head:
        return COARSEST
    return max(s for pair in model.head_adapter.strides for s in pair)


def _preprocessed(model: BaseDetector,
                  data: dict) -> tuple[Tensor, SampleList]:
    device = next(model.parameters()).device
    try:
        batch = model.data_preprocessor(pseudo_collate([data]), training=False)
    except Exception as e:
        raise ConfigValueError(
            f'model.data_preprocessor: cannot take the first '
            f'image of the data: {describe(e)}') from None
    inputs = batch['inputs'].to(device)
    stride = _largest_stride(model)
    height, width = (_cut(n, stride) for n in inputs.shape[2:])
    sample = batch['data_samples'][0]
    h, w = sample.img_shape[:2]
    sample.set_metainfo(dict(
        img_shape=(min(h, height), min(w, width)), pad_shape=(height, width),
        batch_input_shape=(height, width)))
    # twice, for norms that need more than one value per channel
    return inputs[:, :, :height, :width].repeat(2, 1, 1, 1), [sample] * 2


def try_pipeline(key: str, dataset: Any) -> None:
    """Check that the pipeline of a data set works on its first image.

    Args:
        key: of the data set in the config.
        dataset: the built data set.

    Raises:
        ValueError: the pipeline fails; the message names key and image.
    """
    with untouched_randomness():
        next(first_items(key, dataset), None)


def first_items(key: str, dataset: Any) -> Iterator[dict]:
    """The first items of a data set, if single items can be read.

    This uses a copy of the pipeline, because some transforms have a cache.
    """
    while True:
        if getattr(dataset, 'datasets', None):
            dataset, key = dataset.datasets[0], f'{key}.datasets[0]'
        elif hasattr(dataset, 'dataset'):
            dataset, key = dataset.dataset, f'{key}.dataset'
        else:
            break
    if not hasattr(dataset, 'prepare_data'):
        return
    dataset = copy.copy(dataset)
    dataset.pipeline = copy.deepcopy(dataset.pipeline)
    for index in range(min(len(dataset), FEW)):
        try:
            item = dataset.prepare_data(index)
        except Exception as e:
            if isinstance(e, (ConfigError, MemoryError)):
                raise
            path = dataset.get_data_info(index).get('img_path')
            raise ConfigValueError(
                f'{key}.pipeline: failed on the image {path!r}: '
                f'{describe(e)}') from None
        # None is dropped; a wrapper's pipeline may not pack items yet
        if item is not None and {'inputs', 'data_samples'} <= set(item):
            yield item


def _cut(side: int, stride: int) -> int:
    """A shorter side with the same remainder by the stride."""
    kept = stride * max(LEAST, -(-PIXELS // stride))
    return side if side <= kept + stride else side % stride + kept


@contextmanager
def _naming(key: str, model: DistillationMixin,
            inputs: Tensor) -> Iterator[None]:
    """Make an error name the part of student or teacher that raised it.

    Args:
        key: the key to name if no part of them raised it.
        model: the student.
        inputs: the batch.
    """
    try:
        yield
    except Exception as e:
        if isinstance(e, (ConfigError, MemoryError)):
            raise
        size = '×'.join(map(str, inputs.shape))
        raise ConfigValueError(
            f'{part_of(model, e) or key}: cannot take a batch of '
            f'{size}: {describe(e)}') from None


def part_of(model: BaseDetector, error: Exception) -> str:
    """Key of the innermost part of the model in the traceback."""
    keys, detectors = {}, [('model', model)]
    if isinstance(model, DistillationMixin) and model.teacher.is_read:
        keys[id(model.teacher)] = TEACHER
        detectors.append((TEACHER, model.teacher.detector))
    for key, detector in detectors:
        keys.update((id(module), f'{key}.{name}' if name else key)
                    for name, module in detector.named_modules())
    found, trace = '', error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get('self')
        found = keys.get(id(owner), found)
        trace = trace.tb_next
    return found
