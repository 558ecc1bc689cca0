"""The teacher: built, loaded, frozen, and run beside a student."""
import copy
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import SampleList
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..errors import ConfigTypeError
from ..heads import HeadAdapter, dense_head
from ..taps import HEAD_INPUT, Needs, Plan, Record, Tap, run_to, tapped
from ..taps.running import add_given, hooked, take_features_alone
from .fusing import FusedNorms
from .head_run import HeadRun
from .holding import Holding
from .pipelines import Normalized, normalized_by
from .precision import HALVES, read_type
from .reading import read_teacher
from .renormalize import Renormalization, look_at_classes, look_at_pixels


class Teacher:
    """A frozen detector that a student learns from.

    It is no ``nn.Module`` on purpose: as a plain attribute of the student it
    stays out of ``parameters()``, ``state_dict()``, optimizers and DDP.
    Copies of the student (EMA) share it until they train themselves.

    Config and checkpoint are opened when training begins (:meth:`join`), so
    that testing and inference need neither.

    Args:
        config: dict or Config with a ``model``, path of a config file, or
            ``'mmdet::gfl/….py'``.  A relative path is looked up from the
            working directory, then in the folder of the student's config
            (:attr:`beside`), then among mmdet's installed configs.  It is
            built in the registry scope that its own ``default_scope`` names,
            else in the student's.
        ckpt: path or URL of its checkpoint; ``'random'`` for a teacher with
            random weights.
        trust_ckpt: unpickle the checkpoint without restriction.
        dtype: ``'float32'``, ``'bfloat16'`` or ``'float16'``, in which it is
            held and runs.  By default that of autocast from when that is seen
            on (``--amp``), else the student's.  The head of a float16 teacher
            is float32 unless autocast computes in float16, because losses are
            scaled then, and without that small gradients through the head
            become 0.  mmcv's own ops (deformable convolutions) know no
            bfloat16: backbone and neck, or head, are float32 if they have
            any.

        dense: whether predictions of its head are distilled, so that it has to
            have a dense one that is known.

    Raises:
        TypeError, ValueError: ``dtype`` is no such type.

    Attributes:
        beside: the folder of the student's config; None if it is not known.
            mmengine's Runner sets it, see
            :mod:`crosskd.compat.mmengine_runner`.
        classes: names of the classes that its checkpoint was trained on;
            None if the checkpoint does not say.
        before: what the pipeline of the student's data does before the
            student's preprocessor, see :meth:`look_at_data`.
    """

    def __init__(self, config: str | Path | dict | Config | None,
                 ckpt: str | Path | None, trust_ckpt: bool,
                 dtype: str | None = None, dense: bool = False) -> None:
        self.config = config
        self.beside: Path | None = None
        self.ckpt = ckpt
        self.trust_ckpt = trust_ckpt
        self.dense = dense
        self._holding = Holding(read_type(dtype))
        self._detector: BaseDetector | None = None
        self._head: HeadAdapter | None = None
        self._plan: Plan | None = None
        self._preprocessor: BaseDataPreprocessor | None = None
        self.classes: tuple[str, ...] | None = None
        self._follows = False
        self._shared = False
        self.before: Normalized | None = None
        self._renormalize: Renormalization | None = None
        self._has_looked = False
        self._run_head = HeadRun()
        scope = DefaultScope.get_current_instance()
        self._scope = scope.scope_name if scope else None

    @property
    def is_read(self) -> bool:
        """Whether the detector is there with its weights."""
        return self._detector is not None

    @property
    def detector(self) -> BaseDetector:
        """The frozen detector.

        Raises:
            RuntimeError: it has not been read yet.
        """
        if self._detector is None:
            raise RuntimeError(
                f'teacher_ckpt={self.ckpt!r}: not read yet; Teacher.join '
                'reads it when training begins')
        return self._detector

    @property
    def head(self) -> HeadAdapter:
        """The teacher's dense head, in its adapter.

        Raises:
            TypeError: it has none that is known.
        """
        if self._head is None or self._head.head is not getattr(
                self.detector, HEAD_INPUT.module, None):
            try:
                self._head = dense_head(self.detector, teaches=True)
            except TypeError as e:
                raise ConfigTypeError(f'teacher_config.model.{e}') from None
        return self._head

    def read(self) -> None:
        """Read config and checkpoint, unless that has happened.

        Raises:
            FileNotFoundError: config or checkpoint do not exist.
            TypeError: ``teacher_config`` is no config, or one of no detector.
            ValueError: no checkpoint is named, or its weights do not fit.
        """
        if self._detector is None:
            self._detector, self.classes = read_teacher(
                self.config, self.ckpt, self.trust_ckpt, self._scope,
                self.beside, self.dense)
            self._holding.norms = FusedNorms()

    def join(self, student: BaseDetector) -> None:
        """Read the teacher, unless that has happened, and move it.

        Called when training begins.  From then on the teacher follows the
        student's device and data type.

        Args:
            student: the detector that will learn from this teacher.

        Raises:
            FileNotFoundError, TypeError, ValueError: as for :meth:`read`.
        """
        self.read()
        self._preprocessor = student.data_preprocessor  # it may be another now
        if not self._follows:
            self._follows = True
            if self._shared:  # with a student that may train elsewhere
                self._shared = False
                self._detector, self._holding.norms = copy.deepcopy(
                    (self._detector, self._holding.norms))
            self.follow(student)

    def settle(self, plan: Plan) -> None:
        """Keep what is settled of the pair, which each run goes by."""
        self._plan = plan

    def look_at_data(self, key: str, dataset: Any) -> None:
        """See how the pipeline of the student's data normalises images.

        Args:
            key: of the data set in the config, for messages.
            dataset: the built data set; None for none.

        Raises:
            ValueError: it normalises some images in another way than others.
        """
        self.before = normalized_by(key, dataset)

    @torch.inference_mode(False)  # what it keeps may serve in training
    @torch.no_grad()
    def __call__(self, inputs: Tensor, samples: SampleList,
                 needs: Needs | None = None) -> Record:
        """Run the teacher on a batch that was preprocessed for the student.

        After :meth:`join` and :meth:`settle`.

        Args:
            inputs: (N, 3, H, W).
            samples: of the N images; their ``img_shape`` says where the
                padding begins.
            needs: what the distillers need now; no more of the teacher runs.
                By default what they may ever need.

        Returns:
            Record: of the features; where outputs of its head are needed, a
            :class:`~crosskd.heads.HeadRecord`.
        """
        plan = self._plan
        if plan is None:
            raise RuntimeError('call Teacher.settle before running a teacher')
        needs = plan.needs if needs is None else needs
        if not needs:  # all losses have a weight of 0
            return Record()
        inputs = self._renormalized(inputs, samples, self._preprocessor)
        device = inputs.device.type
        body, head = self._holding.types(self.detector, self._dense_head,
                                         self._runs_alone, device)
        # the weights are in the type that it runs in: nothing casts them anew
        with torch.autocast(device, enabled=False):
            self._holding.hold(self.detector, self._dense_head,
                               (body, head), inputs)
            taps = {name: plan.teacher[name] for name in needs.features}
            if needs.dense:
                seen = self._run_dense(inputs.to(body), head, needs, taps)
            else:
                seen = Record(run_to(self.detector, taps, inputs.to(body),
                                     samples))
        seen.needs = needs
        return seen

    def _run_dense(self, inputs: Tensor, head: torch.dtype, needs: Needs,
                   taps: dict[str, Tap]) -> Record:
        split = self._plan.split if self._plan else None
        with tapped(self.detector, hooked(self.detector, taps)) as found:
            features = self.detector.extract_feat(inputs)
            seen = self._run_head(
                self.head, tuple(x.to(head) for x in features),
                split[1] if split and needs.cross_head else None,
                needs.outputs)
        add_given(self.detector, taps, found, features)
        seen.features = found
        return seen

    @torch.no_grad()
    def predict(self, inputs: Tensor, samples: SampleList) -> SampleList:
        """The teacher's own detections, in pixels of the files.

        Args:
            inputs, samples: as for a run; after :meth:`join`.

        Returns:
            list: for each image, a sample with its detections.
        """
        inputs = self._renormalized(inputs, samples, self._preprocessor)
        detector = self.detector
        if any(p.dtype in HALVES for p in detector.parameters()):
            # of boxes, NMS and mmcv's ops, some have no shorter types
            detector = copy.deepcopy(detector).float()
        like = next(detector.parameters())
        with torch.autocast(inputs.device.type, enabled=False):
            return detector.predict(inputs.to(like.dtype),
                                    copy.deepcopy(samples), rescale=True)

    @property
    def has_dense_head(self) -> bool:
        """Whether it has a dense head that is known."""
        return self._dense_head is not None

    @property
    def _runs_alone(self) -> bool:
        """Whether no more runs than backbone, neck and a dense head."""
        plan = self._plan
        return plan is None or plan.needs.dense or take_features_alone(
            self.detector, plan.teacher)

    @property
    def _dense_head(self) -> HeadAdapter | None:
        """The head, if it is known, and can be run by itself."""
        try:
            return self.head
        except TypeError:
            return None

    def _renormalized(self, inputs: Tensor, samples: SampleList,
                      preprocessor: BaseDataPreprocessor) -> Tensor:
        theirs = self.detector.data_preprocessor
        given = preprocessor, theirs, inputs, self.before
        if self._renormalize is None or not self._renormalize.suits(*given):
            self._renormalize = Renormalization(*given)
        inputs = self._renormalize(inputs, samples)
        if not self._has_looked:
            self._has_looked = True
            look_at_classes(preprocessor, theirs)
            look_at_pixels(inputs, samples, theirs)
        return inputs

    def follow(self, student: nn.Module) -> None:
        """Move to the student's device, data type and memory layout.

        A type that was asked for stays, and that of autocast is not widened
        with the student.  Half precision waits for the next run, so that a
        student that goes there and comes back, as for an evaluation, finds
        its teacher's weights unrounded.  Does nothing before training begins.
        The student's own ``_apply`` is not repeated here, because some of
        what it does leaves tensors without values (``to_empty``, the meta
        device).
        """
        like = next(student.parameters())
        if self._follows and not like.is_meta:
            layout = torch.contiguous_format
            if any(_is_channels_last(p) for p in student.parameters()):
                layout = torch.channels_last
            self.detector.to(like.device)
            self.detector.to(memory_format=layout)
            self._holding.follow(self.detector, self._dense_head, like.dtype)

    def __deepcopy__(self, memo: dict) -> 'Teacher':
        # the same detector, until the copy of the student trains, too
        shared = copy.copy(self)
        shared._follows = False
        shared._shared = self.is_read
        shared._run_head = HeadRun()
        shared._holding = copy.copy(self._holding)
        return shared


def _is_channels_last(x: Tensor) -> bool:
    return (x.dim() == 4 and not x.is_contiguous()
            and x.is_contiguous(memory_format=torch.channels_last))

