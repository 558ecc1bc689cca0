"""Base class of the detectors: a student with a teacher for training."""
import logging
from collections.abc import Callable
from typing import Any

from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import SampleList
from mmdet.utils import ConfigType, OptConfigType, OptMultiConfig
from mmengine.logging import print_log
from torch import Tensor

from ..heads import HeadFamily, check_maps, family_of, trace
from ..mmcv_ext import announce
from ..randomness import untouched_randomness
from ..teacher import Teacher
from .finite import ADVICE, check_images, find_nonfinite
from .graph import check_graph
from .imitation import Imitation
from .kd_cfg import KDConfig


class DistilledSingleStageDetector(SingleStageDetector):
    """A single-stage detector that learns from a teacher while it trains.

    It is mmdet's ``SingleStageDetector`` with distillation losses added to
    :meth:`loss`.  Outside training it is the plain student: it predicts like
    one, and its checkpoint is that of one.

    The teacher's config and checkpoint are read when training begins: by
    ``init_weights``, which the Runner calls before the first iteration, or by
    the first call of ``loss``.  Testing and inference do not open them.

    Args:
        backbone, neck, bbox_head, train_cfg, test_cfg, data_preprocessor,
            init_cfg: the student, as for mmdet's SingleStageDetector.
        teacher_config: config with the teacher's ``model``: a dict, a Config,
            a path or ``'mmdet::gfl/….py'``.
        teacher_ckpt: path or URL of the teacher's checkpoint; ``'random'``
            for a teacher with random weights.
        kd_cfg: the distillation losses and where they apply, see
            :class:`~crosskd.detectors.kd_cfg.KDConfig`.
        trust_teacher_ckpt: unpickle the teacher's checkpoint without
            restriction, which lets it run any code; by default only tensors,
            plain containers and what mmengine writes are loaded.

    Raises:
        TypeError, ValueError: ``kd_cfg`` or the head cannot be used; the
            message names the key, what was found and what was expected.
    """

    #: keys that ``kd_cfg`` must have, and its default of ``prediction``
    required: tuple[str, ...]
    prediction: str
    #: the head family that a subclass requires; None for any
    family: type[HeadFamily] | None = None
    #: whether a loss that is not finite ends the run
    stops_at_nonfinite = True

    def __init__(self,
                 backbone: ConfigType,
                 neck: OptConfigType = None,
                 bbox_head: OptConfigType = None,
                 teacher_config: ConfigType | None = None,
                 teacher_ckpt: str | None = None,
                 kd_cfg: OptConfigType = None,
                 train_cfg: OptConfigType = None,
                 test_cfg: OptConfigType = None,
                 data_preprocessor: OptConfigType = None,
                 init_cfg: OptMultiConfig = None,
                 trust_teacher_ckpt: bool = False) -> None:
        super().__init__(backbone, neck, bbox_head, train_cfg, test_cfg,
                         data_preprocessor, init_cfg)
        announce()
        head = self.student_head()
        if self.family is not None and not isinstance(head, self.family):
            raise TypeError(
                f'bbox_head: {type(self).__name__} distils {self.family.name} '
                f'heads, found {type(self.bbox_head).__name__} '
                f'({head.name}); use CrossKDSingleStageDetector or the '
                'detector of that family')
        # the same seed is the same student, whatever is distilled
        with untouched_randomness():
            self.kd = KDConfig(kd_cfg, head, self.required, self.prediction)
            self.imitation = Imitation(self.kd)
        self.teacher = Teacher(teacher_config, teacher_ckpt,
                               trust_teacher_ckpt)

    def student_head(self) -> HeadFamily:
        """The student's head, wrapped in its family."""
        # made when needed, so that a copy of the detector wraps its own head
        return family_of(self.bbox_head)

    def init_weights(self) -> None:
        """Initialise the student's weights, after reading the teacher."""
        self.join_teacher()
        super().init_weights()

    def join_teacher(self) -> None:
        """Read the teacher, unless that has happened, and check the pair.

        Raises:
            FileNotFoundError: its config or its checkpoint does not exist.
            TypeError, ValueError: teacher and student do not fit together; the
                message names what differs.
        """
        was_read = self.teacher.is_read
        self.teacher.join(self)
        if not was_read:
            self.kd.check_pair(self.student_head(), self.teacher.head)

    def loss(self, batch_inputs: Tensor,
             batch_data_samples: SampleList) -> dict:
        """Detection losses and distillation losses of a batch.

        Args:
            batch_inputs: (N, 3, H, W), preprocessed for the student.
            batch_data_samples: ground truth and meta information of the N
                images.

        Returns:
            dict: the losses of the student's own head, and by the keys
            ``loss_cls_kd``, ``loss_reg_kd``, ``loss_center_kd``,
            ``loss_feat_kd`` and ``loss_sdd_<region>`` those that ``kd_cfg``
            asks for, each a list of one scalar a level.

        Raises:
            ValueError: an image has values that are not finite.
            FloatingPointError: a loss is not finite.
            RuntimeError: intermediate features of the student have no
                gradient, such as under mmengine's activation checkpointing.
        """
        self.join_teacher()
        split = self.kd.split
        student_head, teacher_head = self.student_head(), self.teacher.head

        t_features, t = self.teacher(batch_inputs, batch_data_samples,
                                     self.data_preprocessor, split)
        s_features = self.extract_feat(batch_inputs)
        with trace(student_head, split) as s:
            losses = self.bbox_head.loss(s_features, batch_data_samples)
        check_graph(self, s_features, student_head, s, split)
        check_maps(student_head, s, teacher_head, t, batch_inputs, split)

        losses.update(
            self.imitation.predictions(student_head, s, teacher_head, t,
                                       batch_data_samples))
        losses.update(self.imitation.features(s_features, t_features))
        self._check_finite(losses, batch_inputs, batch_data_samples)
        return losses

    def _check_finite(self, losses: dict, inputs: Tensor,
                      samples: SampleList) -> None:
        found = find_nonfinite(losses)
        if not found:
            return
        check_images(inputs, samples)
        message = f'loss is not finite: {", ".join(found)}'
        if self.stops_at_nonfinite:
            raise FloatingPointError(
                f'{message}. No weight has changed. {ADVICE}. To skip a few '
                'such steps, add '
                "custom_hooks=[dict(type='SkipNonFiniteHook')]")
        print_log(message, logger='current', level=logging.WARNING)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any,
               **kwargs: Any) -> 'DistilledSingleStageDetector':
        """Move the student (``to``, ``cuda``, …), and the teacher with it."""
        super()._apply(fn, *args, **kwargs)
        self.teacher.follow(self)
        return self
