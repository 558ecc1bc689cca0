"""The mixin that turns a detector into a student with a teacher."""
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import SampleList
from mmdet.utils import ConfigType, OptConfigType
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from ..compat.mmcv_ext import announce
from ..config import read_inherit, read_kd_cfg
from ..errors import ConfigTypeError
from ..heads import HeadAdapter, default_tap, dense_head, record
from ..numerics.randomness import untouched_randomness
from ..pairs import DensePair, PairedPass, Side, pass_of
from ..pairs.checks import check_passes
from ..pairs.dense_pair import check_split
from ..taps import HEAD_INPUT, Needs, Plan, Record, measure, tapped
from ..taps.running import check_each_image
from ..teacher import FeatureTeacher, Teacher
from .gradients import check_gradients
from .inheriting import Inheritance
from .nonfinite import check_images, look_at_losses, what_is_wrong

HOW_TO_TRAIN = (
    "Set runner_type = 'DistillationRunner' (without strategy), which reads "
    "the teacher first, or call the detector's join_teacher() yourself")


class DistillationMixin(BaseDetector):
    """A detector that learns from a teacher while it trains.

    As the first base class, before an mmdet detector, it adds distillation
    losses to :meth:`loss`.  Outside training the detector is the plain
    student, with the same predictions and the same checkpoint::

        @MODELS.register_module()
        class MyDistilledDetector(DistillationMixin, MyDetector):
            required = ('loss_cls_kd', 'loss_reg_kd')
            prediction = 'cross_head'

    The teacher's config and checkpoint are read when training begins, by
    ``init_weights``, which the Runner calls before the first iteration, or by
    the first call of ``loss``.  Testing and inference do not read them.

    Args:
        args, kwargs: arguments of the detector class, for the student.
        teacher_config: config with the teacher's ``model``: a dict, a Config,
            a path or ``'mmdet::gfl/….py'``; or the dict of a model that is
            no detector, see :class:`~crosskd.teacher.TimmTeacher`.
        teacher_ckpt: path or URL of the teacher's checkpoint; ``'random'``
            for a teacher with random weights.
        kd_cfg: the distillation losses and where they apply, see
            :func:`~crosskd.config.read_kd_cfg`.
        trust_teacher_ckpt: unpickle the teacher's checkpoint without
            restriction, so that it can run any code.  By default only tensors,
            plain containers and mmengine's own objects are loaded.
        teacher_dtype: the data type in which the teacher runs:
            ``'float32'``, ``'bfloat16'`` or ``'float16'``.  Default: see
            :class:`~crosskd.teacher.Teacher`.

    Raises:
        TypeError, ValueError: ``kd_cfg``, ``teacher_dtype`` or the head cannot
            be used; the message names the key, what was found and what was
            expected.
    """

    #: :func:`crosskd.configs.plain_model` looks for the first class without
    is_distilled = True
    #: keys that ``kd_cfg`` must have, and its default of ``prediction``
    required: tuple[str, ...] = ()
    prediction: str = 'cross_head'
    #: the head adapter that a subclass requires; None for any
    family: type[HeadAdapter] | None = None
    #: whether a loss that is not finite ends the run
    stops_at_nonfinite = True

    plan: Plan
    _head: HeadAdapter | None = None

    def __init__(self,
                 *args: Any,
                 teacher_config: ConfigType | None = None,
                 teacher_ckpt: str | None = None,
                 kd_cfg: OptConfigType = None,
                 trust_teacher_ckpt: bool = False,
                 teacher_dtype: str | None = None,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        announce()
        if self.family is not None and not isinstance(
                self.head_adapter, self.family):
            raise ConfigTypeError(
                f'bbox_head: {type(self).__name__} distils '
                f'{self.family.name} heads, found '
                f'{type(self.head_adapter.head).__name__} '
                f'({self.head_adapter.name}); use '
                'CrossKDSingleStageDetector or the detector of that family')
        # the same seed gives the same student, whatever is distilled
        with untouched_randomness():
            self.pair, self.distillers = read_kd_cfg(
                kd_cfg, self.required, self.prediction)
        self.inheritance = Inheritance(read_inherit(kd_cfg or {}))
        if isinstance(self.pair, DensePair):
            head = self.head_adapter
            if self.pair.split is not None:
                check_split('student', self.pair.split[0], head)
        self.teacher = Teacher(
            teacher_config, teacher_ckpt, trust_teacher_ckpt, teacher_dtype,
            dense=self.distillers.needs.teachers_head)

    @property
    def head_adapter(self) -> HeadAdapter:
        """The adapter of the student's dense head.

        Raises:
            TypeError: the student has no dense head that crosskd knows.
        """
        if self._head is None or self._head.head is not getattr(
                self, HEAD_INPUT.module, None):
            self._head = dense_head(self)
        return self._head

    @property
    def has_dense_head(self) -> bool:
        """Whether it has a dense head that crosskd knows."""
        try:
            return self.head_adapter is not None
        except TypeError:
            return False

    # -- before training ---------------------------------------------------

    def init_weights(self) -> None:
        """Initialise the student's weights, after reading the teacher.

        Those of ``kd_cfg.inherit`` become the teacher's, only once.
        """
        was_joined = self.pair.is_joined
        self.join_teacher()
        if not was_joined and self._trained_beside and get_world_size() > 1:
            raise RuntimeError(
                'kd_cfg: channel adapters and layers of losses must be built '
                'before the detector is wrapped for distributed training. '
                f'{HOW_TO_TRAIN}')
        super().init_weights()
        self.inheritance.give(self)

    @torch.inference_mode(False)  # the adapters made here may train later
    def join_teacher(self, classes: Sequence[str] | None = None,
                     teacher: Teacher | None = None,
                     teacher_classes: Sequence[str] | None = None) -> None:
        """Read the teacher, unless it is read already, and match the pair.

        Build the optimizer after this call: it may add channel adapters.

        Args:
            classes: names of the student's classes, if they are known.
            teacher: a teacher that is read already, to use instead of the
                config's.
            teacher_classes: names of the teacher's classes; by default those
                in its checkpoint.

        Raises:
            FileNotFoundError: its config or its checkpoint does not exist.
            TypeError, ValueError: teacher and student do not fit together; the
                message names what differs.
        """
        if teacher is not None:
            self.teacher = teacher
        self.teacher.join(self)
        if self.pair.is_joined:
            return
        self.inheritance.take(self, self.teacher)
        self.plan = plan = self._make_plan()
        self.teacher.settle(plan)
        heads: tuple = (None, None)
        if plan.needs.dense:
            heads = self.head_adapter, self.teacher.head
            heads[0].check_learns()
        levels = measure({'model': self, 'teacher_config.model':
                          self.teacher.detector}, (plan.student, plan.teacher))
        self.pair.join(
            Side(levels[0], heads[0], classes),
            Side(levels[1], heads[1], teacher_classes or self.teacher.classes,
                 is_detector=not isinstance(self.teacher.detector,
                                            FeatureTeacher)),
            plan, next(self.parameters()))
        self.distillers.join(self.pair, next(self.parameters()))
        self._warn_of_classes(classes, teacher_classes or self.teacher.classes)
        self.pair.is_joined = True

    def _warn_of_classes(self, ours: Sequence[str] | None,
                         theirs: Sequence[str] | None) -> None:
        if isinstance(self.pair, DensePair):
            if self.pair.all_classes:  # the same, if spelled differently
                return
            theirs = self.pair.teacher_classes or theirs
        self.inheritance.warn_of_classes(self, ours, theirs)

    def _make_plan(self) -> Plan:
        needs = self.distillers.needs
        ours, theirs = (
            {name: both[at] or default_tap(detector, teaches=bool(at))
             for name, both in needs.features.items()}
            for at, detector in enumerate((self, self.teacher.detector)))
        return Plan(needs, ours, theirs, self.pair.split)

    # -- training ----------------------------------------------------------

    def loss(self, batch_inputs: Tensor,
             batch_data_samples: SampleList) -> dict:
        """Detection losses and distillation losses of a batch.

        Args:
            batch_inputs: (N, 3, H, W), preprocessed for the student.
            batch_data_samples: ground truth and meta information of the N
                images.

        Returns:
            dict: the losses of the student's own head, and those of the
            distillers, such as ``loss_cls_kd``, ``loss_reg_kd``,
            ``loss_center_kd``, ``loss_feat_kd`` and ``loss_sdd_<region>``,
            each a list of one scalar per level.

        Raises:
            RuntimeError: intermediate features of the student have no
                gradient, such as under mmengine's activation checkpointing.

        The backward pass raises a FloatingPointError if a loss is not finite
        or a distillation loss is below zero, and a ValueError if an image is
        not finite.
        """
        self.join_teacher()
        losses, paired = self.paired(batch_inputs, batch_data_samples)
        losses.update(self.distillers(paired))
        look_at_losses(losses, self.distillers.loss_names, partial(
            self._refuse, batch_inputs, batch_data_samples))
        return losses

    def paired(self, inputs: Tensor, samples: SampleList,
               run: Callable[[], dict] | None = None,
               needs: Needs | None = None,
               kind: type[PairedPass] | None = None) -> tuple[dict, Any]:
        """Run student and teacher on a batch, and pair their outputs.

        Args:
            inputs, samples: as for :meth:`loss`, after :meth:`join_teacher`.
            run: runs the student and computes its own losses; by default the
                detector's ``loss``.
            needs: what is needed from the two passes; by default what the
                distillers need now.
            kind: class of the paired pass; by default that of the pair.

        Returns:
            tuple: the student's own losses, and the paired pass.

        Raises:
            RuntimeError, TypeError, ValueError: see :meth:`loss`; or the maps
                of the two detectors cannot be compared.
        """
        if needs is None:
            needs = self.distillers.needs_now
        taught = self.teacher(inputs, samples, needs)
        run = run or partial(super().loss, inputs, samples)
        with self._recorded(needs) as learned:
            losses = run()
        if torch.is_grad_enabled():
            check_gradients(self, self.plan, learned)
        check_each_image(self.plan.student, learned.features, len(inputs))
        check_passes(self.pair, learned, taught, inputs.shape)
        kind = kind or pass_of(self.pair)
        paired = kind(self.pair, learned, taught, samples)
        paired.begin()
        return losses, paired

    @contextmanager
    def _recorded(self, needs: Needs) -> Iterator[Record]:
        """Record the student's pass that happens in the block."""
        with tapped(self, self.plan.student) as features:
            if not self.has_dense_head:
                yield Record(features)
                return
            split = self.plan.split if needs.cross_head else None
            with record(self.head_adapter,
                        split[0] if split else None) as seen:
                seen.features = features
                yield seen

    def _refuse(self, inputs: Tensor, samples: SampleList,
                not_finite: list[str], below_zero: list[str]) -> None:
        """Raise an error about losses that cannot be trained with."""
        if self.stops_at_nonfinite:
            # a caller that catches the error must not step with them
            self.zero_grad(set_to_none=True)
        check_images(inputs, samples)
        message, advice = what_is_wrong(not_finite, below_zero)
        if self.stops_at_nonfinite:
            raise FloatingPointError(
                f'{message}. No weight has changed. {advice}')
        print_log(message, logger='current', level=logging.WARNING)

    def train_step(self, data: Any,
                   optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """As the detector's; raise an error if layers are not trained.

        DDP calls ``forward`` instead; :meth:`init_weights` raises an error if
        the detector was wrapped too early.
        """
        if self._trained_beside:
            _check_trained(self._trained_beside, optim_wrapper)
        return super().train_step(data, optim_wrapper)

    @property
    def _trained_beside(self) -> dict[str, Tensor]:
        """Parameters of channel adapters and losses, by name."""
        return {f'{part}.{name}': p for part in ('pair', 'distillers')
                for name, p in getattr(self, part).named_parameters()
                if p.requires_grad}

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any,
               **kwargs: Any) -> 'DistillationMixin':
        """Move the student (``to``, ``cuda``, …), and the teacher with it."""
        super()._apply(fn, *args, **kwargs)
        self.teacher.follow(self)
        return self


def _check_trained(parameters: dict[str, Tensor],
                   optim_wrapper: Any) -> None:
    """Check that the optimizer has parameters, which are given by name."""
    wrappers = (optim_wrapper.values() if isinstance(
        optim_wrapper, OptimWrapperDict) else [optim_wrapper])
    trained = {id(p) for wrapper in wrappers
               for group in wrapper.optimizer.param_groups
               for p in group['params']}
    missing = [name for name, p in parameters.items()
               if id(p) not in trained]
    if missing:
        raise RuntimeError(
            f'kd_cfg: the optimizer was built before {missing[0]}, '
            f'so it does not train it. {HOW_TO_TRAIN}, before the optimizer '
            'is built')
