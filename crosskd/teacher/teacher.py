"""The teacher: a frozen detector that runs beside its student."""
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

    It is deliberately not an ``nn.Module``: as a plain attribute of the
    student it stays out of ``parameters()``, ``state_dict()``, optimizers and
    DDP.  Copies of the student (EMA) share it until they train themselves.

    Config and checkpoint are read when training begins (:meth:`join`), so
    testing and inference need neither.

    Args:
        config: dict or Config with a ``model``, path of a config file, or
            ``'mmdet::gfl/….py'``.  A relative path is looked up from the
            working directory, then in the folder of the student's config
            (:attr:`beside`), then among mmdet's installed configs.  The
            teacher is built in the registry scope of its own
            ``default_scope``, or else in the student's.  A model that is no
            detector, such as ``dict(type='TimmTeacher', name=…)``, teaches
            features only.
        ckpt: path or URL of its checkpoint; ``'random'`` for a teacher with
            random weights; None if timm downloads them.
        trust_ckpt: unpickle the checkpoint without restriction.
        dtype: the data type in which the teacher is stored and runs:
            ``'float32'``, ``'bfloat16'`` or ``'float16'``.  By default
            autocast's type as soon as autocast is on (``--amp``), else the
            student's.  The head of a float16 teacher stays float32 unless
            autocast uses float16: only then are losses scaled, and without
            scaling small gradients through the head become 0.  mmcv's own ops
            (deformable convolutions) do not support bfloat16: a head, or a
            backbone and neck, that has any runs in float32.
        dense: whether predictions of its head are used; it then needs a
            dense head that crosskd knows.

    Raises:
        TypeError, ValueError: ``dtype`` is not one of these types.

    Attributes:
        beside: the folder of the student's config; None if it is not known.
            mmengine's Runner sets it, see
            :mod:`crosskd.compat.mmengine_runner`.
        classes: names of the classes that its checkpoint was trained on;
            None if the checkpoint does not say.
        before: the normalisation in the student's data pipeline, before the
            student's preprocessor; see :meth:`look_at_data`.
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
        """Whether the detector is built and its weights are loaded."""
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
        """The adapter of the teacher's dense head.

        Raises:
            TypeError: the teacher has no dense head that crosskd knows.
        """
        if self._head is None or self._head.head is not getattr(
                self.detector, HEAD_INPUT.module, None):
            try:
                self._head = dense_head(self.detector, teaches=True)
            except TypeError as e:
                raise ConfigTypeError(f'teacher_config.model.{e}') from None
        return self._head

    def read(self) -> None:
        """Read config and checkpoint, unless they are read already.

        Raises:
            FileNotFoundError: config or checkpoint do not exist.
            TypeError: ``teacher_config`` is not the config of a detector.
            ValueError: no checkpoint is named, or its weights do not fit.
        """
        if self._detector is None:
            self._detector, self.classes = read_teacher(
                self.config, self.ckpt, self.trust_ckpt, self._scope,
                self.beside, self.dense)
            self._holding.norms = FusedNorms()

    def join(self, student: BaseDetector) -> None:
        """Read the teacher, unless it is read already, and move it.

        It is called when training begins.  From then on the teacher follows
        the student's device and data type.

        Args:
            student: the detector that will learn from this teacher.

        Raises:
            FileNotFoundError, TypeError, ValueError: as for :meth:`read`.
        """
        self.read()
        self._preprocessor = student.data_preprocessor  # it may have changed
        if not self._follows:
            self._follows = True
            if self._shared:  # the other student may train elsewhere
                self._shared = False
                self._detector, self._holding.norms = copy.deepcopy(
                    (self._detector, self._holding.norms))
            self.follow(student)

    def settle(self, plan: Plan) -> None:
        """Store the plan for the pair, which every later run follows."""
        self._plan = plan

    def look_at_data(self, key: str, dataset: Any) -> None:
        """Find out how the student's data pipeline normalises images.

        Args:
            key: of the data set in the config, for messages.
            dataset: the built data set, or None.

        Raises:
            ValueError: it does not normalise all images in the same way.
        """
        self.before = normalized_by(key, dataset)

    @torch.inference_mode(False)  # cached tensors may be used in training
    @torch.no_grad()
    def __call__(self, inputs: Tensor, samples: SampleList,
                 needs: Needs | None = None) -> Record:
        """Run the teacher on a batch that was preprocessed for the student.

        Call it after :meth:`join` and :meth:`settle`.

        Args:
            inputs: (N, 3, H, W).
            samples: of the N images; their ``img_shape`` says where the
                padding begins.
            needs: what the distillers need now; the rest of the teacher does
                not run.  By default all that they may need during the run.

        Returns:
            Record: of the features; a :class:`~crosskd.heads.HeadRecord` if
            outputs of the teacher's head are needed.
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
        # the weights are stored in the type that it runs in: no casts needed
        with torch.autocast(device, enabled=False):
            self._holding.hold(self.detector, self._dense_head,
                               (body, head), inputs)
            taps = {name: plan.teacher[name] for name in needs.features}
            if needs.teachers_head:
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
            # some of boxes, NMS and mmcv's ops do not support shorter types
            detector = copy.deepcopy(detector).float()
        like = next(detector.parameters())
        with torch.autocast(inputs.device.type, enabled=False):
            return detector.predict(inputs.to(like.dtype),
                                    copy.deepcopy(samples), rescale=True)

    @property
    def has_run(self) -> bool:
        """Whether it has run: its weights may be fused, and in half precision.
        """
        return self._holding.has_run

    @property
    def has_dense_head(self) -> bool:
        """Whether it has a dense head that crosskd knows."""
        return self._dense_head is not None

    @property
    def _runs_alone(self) -> bool:
        """Whether only backbone, neck and a dense head run."""
        plan = self._plan
        return plan is None or plan.needs.teachers_head or take_features_alone(
            self.detector, plan.teacher)

    @property
    def _dense_head(self) -> HeadAdapter | None:
        """The head, if crosskd knows it and can run it separately."""
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

        A type set by ``dtype`` stays, and autocast's type is not widened with
        the student.  Half precision is applied at the next run only: if the
        student goes to half precision and back, as for an evaluation, the
        teacher's weights are not rounded.  It does nothing before training
        begins.  It does not repeat the student's ``_apply``, because that can
        leave tensors without values (``to_empty``, the meta device).
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
        # shared until the copy of the student trains, too
        shared = copy.copy(self)
        shared._follows = False
        shared._shared = self.is_read
        shared._run_head = HeadRun()
        shared._holding = copy.copy(self._holding)
        return shared


def _is_channels_last(x: Tensor) -> bool:
    return (x.dim() == 4 and not x.is_contiguous()
            and x.is_contiguous(memory_format=torch.channels_last))

