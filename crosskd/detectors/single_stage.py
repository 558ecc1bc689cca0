"""A single-stage detector with a teacher, whatever is distilled."""
from mmdet.models.detectors import SingleStageDetector
from mmdet.registry import MODELS

from .mixin import DistillationMixin


@MODELS.register_module()
class DistilledSingleStageDetector(DistillationMixin, SingleStageDetector):
    """mmdet's ``SingleStageDetector`` with the losses that ``kd_cfg`` names.

    It has no default method: ``kd_cfg`` can combine any losses and
    distillers, also those of other packages.  Example config that distils
    features only::

        _base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='DistilledSingleStageDetector',
            teacher_config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0)))

    Arguments and errors: see :class:`~crosskd.detectors.DistillationMixin`.
    """
