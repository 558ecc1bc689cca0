"""The steps that are compared; each can be run and timed."""
import copy
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import SampleList
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from ...detectors import DistillationMixin
from ...engine.run_checks import check_optimizer
from ...taps import run_to
from .detectors import (
    build_distilled,
    build_plain,
    build_teacher,
    largest_stride,
    random_batch,
)
from .machine import data_type
from .parts import (
    watch_distilled,
    watch_optimizer,
    watch_plain,
    watch_teacher,
)
from .setting import Setting, batch_size, image_size, read
from .timeline import Timeline

NAMES = ('student', 'teacher', 'distilled')
SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01,
                                               momentum=0.9))


class Steps:
    """The steps that are compared on one batch.

    Args:
        setting: what to measure.
        names: which of ``NAMES`` to build.

    Attributes:
        size: (height, width) of the images.
        batch: the number of images.
        types: the data types, by name.
    """

    def __init__(self, setting: Setting, names: tuple[str, ...] = NAMES
                 ) -> None:
        self._setting = setting
        self.cfg = read(setting)
        if setting.threads is not None:
            torch.set_num_threads(setting.threads)
        torch.backends.cudnn.benchmark = bool(
            self.cfg.get('env_cfg', {}).get('cudnn_benchmark'))
        self.device = torch.device(setting.device)
        self._optim = _optimizer(self.cfg, setting.amp)
        self._amp = _autocasts_to(self._optim)
        self.batch = batch_size(setting, self.cfg)
        self.types: dict[str, str] = {}
        self._data: tuple[Tensor, SampleList] | None = None
        makers = dict(student=self._student, teacher=self._teacher,
                      distilled=self._distilled)
        self._steps = {name: makers[name]() for name in names}

    def run(self, name: str) -> Timeline:
        """Run one step."""
        timeline = Timeline(self.device)
        self._steps[name](timeline)
        return timeline

    def _student(self) -> Callable[[Timeline], None]:
        return self._training('student', build_plain(self.cfg), watch_plain)

    @cached_property
    def _model(self) -> DistillationMixin:
        return build_distilled(self.cfg)

    def _distilled(self) -> Callable[[Timeline], None]:
        step = self._training('distilled', self._model, watch_distilled)
        self.types["the distilled detector's teacher"] = self._typed(
            self._model.teacher.detector)
        return step

    def _teacher(self) -> Callable[[Timeline], None]:
        model = build_teacher(self.cfg).to(self.device)
        inputs, samples = self._batch_for(model)
        self.types['teacher'] = self._typed(model)
        # under autocast if the student is
        context = (torch.autocast(self.device.type, self._amp)
                   if self._amp is not None else nullcontext())
        plan = self._model.plan

        def step(timeline: Timeline) -> None:
            with watch_teacher(timeline, model), timeline.whole(), (
                    torch.no_grad()), context:
                if plan.needs.teachers_head:
                    model.bbox_head(model.extract_feat(inputs))
                else:
                    run_to(model, plan.teacher, inputs, samples)

        return step

    def _training(self, name: str, model: BaseDetector,
                  watch: Callable) -> Callable[[Timeline], None]:
        model.to(self.device)
        check_optimizer(model, self._optim)
        optim = build_optim_wrapper(model, copy.deepcopy(self._optim))
        for group in optim.optimizer.param_groups:
            group['lr'] = 0.0  # keeps the weights equal in every round
        inputs, samples = self._batch_for(model)
        self.types[name] = self._typed(model)

        def step(timeline: Timeline) -> None:
            with watch_optimizer(timeline, optim), watch(timeline, model), (
                    timeline.whole()):
                # mmengine's train_step without the preprocessing
                with optim.optim_context(model):
                    losses = model(inputs, samples, mode='loss')
                loss, _ = model.parse_losses(losses)
                optim.update_params(loss)

        return step

    def _batch_for(self, model: BaseDetector
                   ) -> tuple[Tensor, SampleList]:
        if self._data is None:
            self.size = image_size(self._setting, self.cfg,
                                   largest_stride(model))
            self._data = random_batch(model, self.batch, self.size)
        return self._data

    def _typed(self, model: BaseDetector) -> str:
        found = data_type(model)
        if self._amp is not None:
            to = str(self._amp).removeprefix('torch.')
            return f'{found}, autocast to {to}'
        return found


def _optimizer(cfg: Config, amp: bool) -> dict:
    """The config's optimizer, without gradient accumulation."""
    wrapper = copy.deepcopy(dict(cfg.get('optim_wrapper') or SGD))
    wrapper.setdefault('type', 'OptimWrapper')
    wrapper.pop('accumulative_counts', None)
    if amp:  # as in mmdet's train tool
        wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    return wrapper


def _autocasts_to(optim: dict) -> torch.dtype | None:
    """The type of an optimizer's autocast; None if it has none."""
    if 'Amp' not in str(optim['type']):
        return None
    return getattr(torch, optim.get('dtype') or 'float16')
